"""Our units and keys of Index-1.9B's own corpus against its published algorithm, written out here once more."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from retrieval.units import Turn, Unit, query_key, telling, unit

ROLE = "三三"
Lines = list[str]


def published(dialogues: list[Lines], role: str, least: int = 20) -> list[tuple[Lines, str]]:
    """(dialogue, key) as roleplay/src/retrieve_dialog.py of bilibili/Index-1.9B makes them, names compared whole."""
    every, long = [], []
    for dialogue in dialogues:
        spoken = [re.split("[:：]", line, maxsplit=1)[0] == role for line in dialogue]
        if not any(spoken):
            continue
        cut = dialogue[: len(spoken) - spoken[::-1].index(True)]
        anonymous, others, lengths = [], [], []
        for line in cut:
            name, text = re.split("[:：]", line, maxsplit=1)
            if name == role:
                lengths.append(len(text))
                anonymous.append(line)
                continue
            if name not in others:
                others.append(name)
            anonymous.append(line.replace(name, f"user{others.index(name)}", 1))
        if any(cut == known for known, _ in every):
            continue
        every.append((cut, "\n".join(anonymous[:-1] or anonymous)))
        if sum(lengths) / len(lengths) >= 10:
            long.append(every[-1])
    return long if len(long) >= least else every


def ours(dialogues: list[Lines], role: str) -> tuple[Unit, ...]:
    scenes = [[Turn(*re.split("[:：]", line, maxsplit=1)) for line in dialogue] for dialogue in dialogues]
    return telling(dict.fromkeys(found for scene in scenes if (found := unit(scene, role))), role)


def same(found: tuple[Unit, ...], expected: list[tuple[Lines, str]]) -> None:
    """Equal but for what separates a name from its text: the files have both colons, our keys one."""
    assert [[f"{turn.speaker}：{turn.text}" for turn in piece.dialogue] for piece in found] == [
        [re.sub("[:：]", "：", line, count=1) for line in dialogue] for dialogue, _ in expected
    ]
    assert [piece.key for piece in found] == [
        "\n".join(re.sub("[:：]", ": ", line, count=1) for line in key.split("\n")) for _, key in expected
    ]


@pytest.fixture(scope="module")
def sansan(bench_data: Path) -> Path:
    folder = bench_data / "index_sansan"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set MOODLINE_BENCH_DATA to a folder with index_sansan")
    return folder


def from_json(folder: Path) -> list[Lines]:
    return [entry["dialog"] for entry in json.loads((folder / "三三.json").read_text(encoding="utf-8"))]


def from_csv(folder: Path) -> list[Lines]:
    with (folder / "三三.csv").open(encoding="utf-8", newline="") as file:
        return [row["对话"].split("\n") for row in csv.DictReader(file)]


@pytest.mark.parametrize("dialogues", [from_json, from_csv])
def test_units_and_keys_are_those_of_the_published_algorithm(sansan, dialogues):
    expected = published(dialogues(sansan), ROLE)
    assert len(expected) >= 20
    same(ours(dialogues(sansan), ROLE), expected)


def test_every_golden_hit_is_one_of_the_units(sansan):
    golden = json.loads((sansan / "三三_rag.json").read_text(encoding="utf-8"))[0]
    found = [[f"{turn.speaker}：{turn.text}" for turn in piece.dialogue] for piece in ours(from_json(sansan), ROLE)]
    for _, dialogue in golden["retrieve_results"]:
        assert dialogue in found


def test_the_golden_question_is_searched_for_as_index_searches_for_it(sansan):
    golden = json.loads((sansan / "三三_rag.json").read_text(encoding="utf-8"))[0]
    history = [Turn(*line.split(":", 1)) for line in golden["dialog"]]
    assert query_key(history, ROLE) == "user0: 你是谁"


def test_a_corpus_too_small_for_the_filter_is_kept_whole(sansan):
    dialogues = from_json(sansan)
    few = dialogues[: next(n for n in range(len(dialogues)) if len(published(dialogues[:n], ROLE, 0)) == 19)]
    expected = published(few, ROLE)
    assert len(expected) > 19
    same(ours(few, ROLE), expected)


def test_repeats_and_terse_dialogues_are_left_out_as_published():
    talk = [[f"甲：第{n}个问题是什么呢", f"乙：等等{n}", f"三三：我想这应该是第{n}个答案吧。"] for n in range(20)]
    terse = [["甲：在吗", "三三：嗯"], ["甲：还在吗", "三三：在"]]
    dialogues = [*talk, *terse, talk[3], ["甲：谁", "三三博士：我是三三博士，不是三三。"]]
    expected = published(dialogues, ROLE)
    assert len(expected) == 20
    same(ours(dialogues, ROLE), expected)
    same(ours(dialogues[1:20] + terse, ROLE), published(dialogues[1:20] + terse, ROLE))
    assert len(ours(dialogues[1:20] + terse, ROLE)) == 21
