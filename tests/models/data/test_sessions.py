"""Exports of conversations with copies, groups and replies that broke off."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from models.data.sessions import preferred, replies
from models.scene import Message, Scene


def message(name: str, above: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    fields = {"kind": "message", "id": name, "session_id": "s", "parent_id": above, "role": role, "text": text}
    return fields | {"active": True, "outcome": "finished", "turn_id": None, "speaker_id": None} | more


def trace(turn: str, said: str, character: str) -> dict[str, Any]:
    scene = Scene(character, "en", "A sailor.", history=(Message("user", said),))
    return {"kind": "trace", "id": turn, "session_id": "s", "document": {"scene": dataclasses.asdict(scene)}}


def export(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "ana.jsonl"
    session = {"kind": "session", "id": "s", "character": "mira"}
    path.write_text(
        "\n".join(json.dumps(line) for line in ({"kind": "export"}, session, *lines, {"kind": "end"})), "utf-8"
    )
    return path


def test_a_copy_below_an_edited_message_is_not_trained_on_under_the_words_it_did_not_answer(tmp_path: Path):
    path = export(
        tmp_path,
        message("1", None, "user", "Where is Bo?", active=False),
        message("2", "1", "assistant", "Asleep.", active=False, turn_id="t"),
        message("3", None, "user", "Where is Mo?", origin_id="1"),
        message("4", "3", "assistant", "Asleep.", turn_id="t", origin_id="2"),
        trace("t", "Where is Bo?", "Mira"),
    )

    (row,) = replies(path, str.upper)

    assert (row.scene.history, row.scene.persona) == ((Message("user", "Where is Mo?"),), "MIRA")
    assert row.group == "1"


def test_what_broke_off_is_no_reply_and_nothing_that_was_rejected(tmp_path: Path):
    path = export(
        tmp_path,
        message("1", None, "user", "Where is Bo?"),
        message("2", "1", "assistant", "Asl", outcome="hung_up", active=False),
        message("3", "1", "assistant", "In bed.", active=False, deleted_at="2026-01-01"),
        message("4", "1", "assistant", "Asleep."),
        message("5", "4", "user", "Still?"),
        message("6", "5", "assistant", "Ye", outcome="failed"),
    )

    assert [row.reply for row in replies(path, str)] == ["Asleep."]
    assert [(row.reply, row.rejected) for row in preferred(path, str)] == [("Asleep.", "In bed.")]


def test_members_of_a_group_are_no_tries_of_one_another(tmp_path: Path):
    path = export(
        tmp_path,
        message("1", None, "user", "Who is there?"),
        message("2", "1", "assistant", "Me, Bo.", speaker_id="bo", turn_id="t"),
        message("3", "1", "assistant", "Me, Mira.", speaker_id="mira", turn_id="u", active=False),
        message("4", "2", "assistant", "And me.", speaker_id="mira"),
        trace("t", "Ana: Who is there?", "Bo"),
    )

    (row,) = replies(path, str)

    assert (row.scene.character, row.reply) == ("Bo", "Me, Bo.")
    assert list(preferred(path, str)) == []


def test_a_greeting_answers_nobody(tmp_path: Path):
    path = export(tmp_path, message("1", None, "assistant", "Mind the ropes."))

    assert list(replies(path, str)) == []
