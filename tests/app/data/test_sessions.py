"""Conversations of a real server become rows: as they were served, and as pairs of what was preferred."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from models.data.sessions import preferred, read_export, replies
from models.example import BadRow, Example
from models.prompt import render

ASKED, AGAIN = "What lies under the quay?", "And who put it there?"


async def exported(client: httpx.AsyncClient, folder: Path) -> Path:
    file = folder / "ana.jsonl"
    file.write_text((await client.get("/api/users/export?user=ana")).text, "utf-8")
    return file


@pytest.fixture
async def export(client, talk, mira, tmp_path: Path) -> Path:
    """Two turns; the first was regenerated, the second edited by hand."""
    (await client.post("/api/characters", json=mira)).raise_for_status()
    first = await talk("mira", ASKED, "Mud.")
    session = first.headers["x-session-id"]
    await talk("mira", ASKED, "An old bell, they say.")
    told = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "An old bell, they say."}]
    await talk("mira", AGAIN, "Someone.", messages=[*told, {"role": "user", "content": AGAIN}])
    last = (await client.get(f"/api/sessions/{session}")).json()["branch"][-1]
    assert last["text"] == "Someone."
    path = f"/api/sessions/{session}/messages/{last['id']}"
    (await client.patch(path, json={"text": "My grandmother did."}, headers={"if-match": "*"})).raise_for_status()
    return await exported(client, tmp_path)


def persona(slug: str) -> str:
    return f"I am {slug}."


async def test_replies_on_the_current_branch_stand_under_the_prompt_they_were_served_with(client, export):
    first, second = sorted(replies(export, persona), key=lambda row: len(row.scene.history))

    assert (first.reply, second.reply) == ("An old bell, they say.", "My grandmother did.")
    assert [said.content for said in second.scene.history][-3:] == [ASKED, "An old bell, they say.", AGAIN]
    assert (first.scene.character, first.learn) == ("Mira", "reply")
    assert "The old quay sank in spring." in [lore.text for lore in first.scene.lore]
    assert first.group == second.group
    traces = [json.loads(line) for line in export.read_text("utf-8").splitlines() if '"kind": "trace"' in line]
    served = next(one["document"] for one in traces if one["document"]["reply"] == first.reply)
    prompt = render(first.scene, layout=served["layout"], **_budget(served), count=_counted(served))
    assert [vars_of(m) for m in prompt.messages] == served["prompt"]


async def test_what_was_regenerated_or_edited_is_rejected(export):
    pairs = {(row.reply, row.rejected) for row in preferred(export, persona)}

    assert pairs == {("An old bell, they say.", "Mud."), ("My grandmother did.", "Someone.")}


async def test_without_traces_the_talk_is_told_with_the_persona_given(export, tmp_path):
    lines = [line for line in export.read_text("utf-8").splitlines() if '"kind": "trace"' not in line]
    bare = tmp_path / "bare.jsonl"
    bare.write_text("\n".join(lines), "utf-8")

    rows = list(replies(bare, persona, "mira"))

    assert [row.scene.persona for row in rows] == ["I am mira."] * 2
    assert Example.from_json(rows[0].to_json()) == rows[0]
    with pytest.raises(ValueError, match="no talk with 'tom'; it has talks with mira"):
        list(replies(bare, persona, "tom"))


async def test_an_export_that_is_cut_off_or_damaged_is_refused(export, tmp_path):
    lines = export.read_text("utf-8").splitlines()
    cut, broken = tmp_path / "cut.jsonl", tmp_path / "broken.jsonl"
    cut.write_text("\n".join(lines[:-1]), "utf-8")
    broken.write_text("\n".join(line for line in lines if '"kind": "session"' not in line), "utf-8")

    with pytest.raises(BadRow, match="has no end"):
        read_export(cut)
    with pytest.raises(BadRow, match="its session does not stand before it"):
        read_export(broken)


def vars_of(message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def _budget(served) -> dict[str, int]:
    return {"budget": served["budget"]["prompt"], "window": served["budget"]["window"]}


def _counted(_served):
    return lambda text: len(text) // 4
