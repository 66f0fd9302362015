"""Rows with the lines that the server would recall, and memory banks with what its head hears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.data.index import rows
from app.data.memories import memories
from models.data.pairs import Cut
from models.data.script import Line, Script, Staged, read_script
from retrieval.emotion import EMOTIONS
from retrieval.leak import folded

BOATS = ("the ferry", "the cutter", "the barge", "the tender", "the lugger", "the yawl")
KNOTS = "A bowline holds whatever you tie it to, and it never slips in the rain."


def play() -> Script:
    talks = [
        (f"When does {boat} leave?", f"Ask me of {boat} when the tide has turned, and not before.") for boat in BOATS
    ]
    talks += [("Which knot do I tie?", KNOTS), ("Which knot do I tie now?", KNOTS.replace("A bowline", "My bowline"))]
    scenes = [
        Staged(
            str(n),
            (Line("Bo", asked), Line("Mira", said), Line("Bo", "Thanks."), Line("Mira", "Mind the ropes there.")),
        )
        for n, (asked, said) in enumerate(talks)
    ]
    return Script("play", tuple(scenes))


def test_rows_hold_lines_like_the_servers_and_none_that_tells_the_reply(loaded_encoder):
    encoder, _ = loaded_encoder
    found = list(rows(play(), "Mira", Cut(4), "A net mender.", encoder, 3))

    ferry = next(row for row in found if row.scene.history[-1].content == "When does the ferry leave?")
    assert 0 < len(ferry.scene.lines) <= 3
    assert ferry.scene.lines[0].startswith("Bo: When does the ")
    assert "\nMira: Ask me of the " in ferry.scene.lines[0]
    for row in found:
        reply = folded(row.reply)
        assert not any(reply in folded(line) for line in row.scene.lines)
    knot = next(row for row in found if row.scene.history[-1].content == "Which knot do I tie?")
    assert not any("Which knot do I tie?" in line.split("\n") for line in knot.scene.lines)


def test_real_dialogues_give_rows_with_lines(loaded_encoder, bench_data: Path):
    file = bench_data / "index_sansan" / "三三.json"
    if not file.is_file():
        pytest.skip(f"needs {file} (set MOODLINE_BENCH_DATA)")
    encoder, _ = loaded_encoder

    found = list(rows(read_script(file), "三三", Cut(6), "", encoder, 4))

    assert len(found) == 116
    assert sum(bool(row.scene.lines) for row in found) > 100
    assert not [
        row.id for row in found for line in row.scene.lines if len(row.reply) > 8 and folded(row.reply) in folded(line)
    ]
    assert found[0].scene.persona.startswith("姓名：三三")


def test_a_memory_bank_says_how_its_role_felt_and_holds_nothing_twice(loaded_encoder):
    encoder, tagger = loaded_encoder
    said = ("I am so happy that you came back to me!", "I hate you, you ruined everything.")
    scenes = [Staged(str(n), (Line("Bo", "Well?"), Line("Ana", text))) for n, text in enumerate((*said, said[0]))]

    happy, angry = memories(Script("p", tuple(scenes)), "Ana", encoder, tagger)

    assert happy["text"] == f"Bo: Well?\nAna: {said[0]}"
    assert list(happy["emotion"]) == list(EMOTIONS)
    assert max(happy["emotion"], key=happy["emotion"].get) == "joy"
    assert max(angry["emotion"], key=angry["emotion"].get) in ("anger", "disgust")
    assert happy["tagger"] == tagger.id
    assert json.loads(json.dumps(happy)) == happy
