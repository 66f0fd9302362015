"""The rows of data sets: what is written comes back, and what is damaged is named by its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.example import BadRow, Example, read_examples, write_examples
from models.scene import Lore, Message, Scene

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
PLAIN = {
    "character": "甄嬛",
    "language": "zh",
    "persona": "",
    "history": [{"role": "user", "content": "你是谁？"}],
    "reply": "臣妾。",
}


@given(name=TEXT, said=TEXT, reply=TEXT, rejected=TEXT, lines=st.lists(TEXT), depth=st.integers(0, 99))
def test_a_row_comes_back_as_it_was_written(name, said, reply, rejected, lines, depth):
    history = (Message("user", said), Message("assistant", reply), Message("user", said))
    scene = Scene(name, "en", "p", lines=tuple(lines), lore=(Lore("l", place="depth", depth=depth),), history=history)
    example = Example(scene, reply, rejected, learn="reply", id="1", group="g")

    assert Example.from_json(example.to_json()) == example


def test_a_row_of_a_scene_alone_reads_as_one_with_a_reply():
    scene = Scene("Ana", "en", "A nurse.", mood="calm", history=(Message("user", "Hi"),))

    read = Example.from_json(json.dumps(json.loads(scene.to_json()) | {"reply": "Hello."}))

    assert read == Example(scene, "Hello.")


def test_what_stands_at_its_default_is_not_written():
    row = json.loads(Example.from_json(json.dumps(PLAIN)).to_json())

    assert row == PLAIN


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"persona": 5}, "persona"),
        ({"history": []}, "must end with the user's message"),
        ({"history": [{"role": "assistant", "content": "x"}]}, "must end with the user's message"),
        ({"history": [{"role": "wizard", "content": "x"}]}, "history.0.role"),
        ({"history": [{"role": "user"}]}, "history.0.content"),
        ({"language": "fr"}, "language"),
        ({"learn": "nothing"}, "learn must be one of talk, reply"),
        ({"reply": None}, "reply must be a text"),
        ({"moood": "x"}, "unknown fields moood"),
        ({"reply": "\ud800"}, "surrogate"),
    ],
)
def test_a_damaged_row_is_named_by_its_line_and_field(tmp_path: Path, change, why):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(PLAIN) + "\n\n" + json.dumps(PLAIN | change) + "\n", "utf-8")

    rows = read_examples(file)

    assert next(rows).reply == "臣妾。"
    with pytest.raises(BadRow, match=r"rows\.jsonl, line 3: ") as caught:
        next(rows)
    assert why in str(caught.value)


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b"[" * 100_000, b'"x"'])
def test_what_is_no_object_is_named_by_its_line(tmp_path: Path, raw):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(raw)

    with pytest.raises(BadRow, match="line 1: "):
        list(read_examples(file))


def test_a_missing_field_is_named(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text('\ufeff{"reply": "x"}', "utf-8")

    with pytest.raises(BadRow, match="character, language, persona, history must be given"):
        list(read_examples(file))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path):
    file = tmp_path / "out" / "rows.jsonl"
    example = Example.from_json(json.dumps(PLAIN))

    def breaking():
        yield example
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_examples(file, breaking())
    assert list(file.parent.iterdir()) == []
    assert write_examples(file, [example, example]) == 2
    assert list(read_examples(file)) == [example, example]
