"""`moodline bench memory` and `bench recall`: LoCoMo's form, the numbers, and the commands on small data."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.bench.locomo import read_conversations
from app.cli.main import app

CONVERSATION: dict[str, Any] = {
    "sample_id": "conv-1",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bob",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a puppy called Biscuit!"},
            {
                "speaker": "Bob",
                "dia_id": "D1:2",
                "text": "How lovely! Look at mine.",
                "blip_caption": "a photo of a cat",
            },
            {"speaker": "Ann", "dia_id": "D1:3", "text": "What a sweet face."},
        ],
        "session_10_date_time": "9:00 am on 2 June, 2023",
        "session_10": [
            {"speaker": "Bob", "dia_id": "D10:1", "text": "I started to learn the violin."},
            {"speaker": "Ann", "dia_id": "D10:2", "text": "That is hard! I play the drums."},
        ],
        "session_2_date_time": "9:00 am on 20 May, 2023",
        "session_2": [{"speaker": "Ann", "dia_id": "D2:1", "text": "The garden is full of weeds."}],
    },
    "qa": [
        {"question": "What is the name of Ann's puppy?", "answer": "Biscuit", "evidence": ["D1:1"], "category": 4},
        {"question": "Which instruments are played?", "answer": "…", "evidence": ["D10:1; D10:2"], "category": 1},
        {"question": "When did Bob begin with the violin?", "answer": "June", "evidence": ["D10:1"], "category": 2},
        {"question": "What was never said?", "answer": "-", "evidence": ["D1:1"], "category": 5},
        {"question": "Whose evidence is missing?", "answer": "-", "evidence": ["D9:9"], "category": 4},
        {"question": "Nobody knows?", "answer": "-", "evidence": [], "category": 3},
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([CONVERSATION]), encoding="utf-8")
    return path


def test_sessions_come_in_the_order_of_their_numbers_with_pictures_as_words(file: Path) -> None:
    (found,) = read_conversations(file)
    assert [turn.id for turn in found.turns] == ["D1:1", "D1:2", "D1:3", "D2:1", "D10:1", "D10:2"]
    assert found.turns[1].line == "Bob: How lovely! Look at mine. [shows a photo of a cat]"
    assert found.turns[3].at == datetime(2023, 5, 20, 9)


def test_only_questions_that_the_talk_answers_are_asked(file: Path) -> None:
    (found,) = read_conversations(file)
    assert [(question.category, sorted(question.evidence)) for question in found.questions] == [
        (4, ["D1:1"]),
        (1, ["D10:1", "D10:2"]),
        (2, ["D10:1"]),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "can't be read"),
        ("[", "is not JSON"),
        ('[{"qa": []}]', "entry 1 is no LoCoMo conversation"),
        (json.dumps([{**CONVERSATION, "qa": []}]), "no question names evidence"),
        (json.dumps([CONVERSATION, 7]), "entry 2"),
    ],
)
def test_a_file_of_another_form_ends_in_one_sentence(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "talks.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(typer.BadParameter, match=why):
        read_conversations(path)
    told = CliRunner().invoke(app, ["bench", "memory", "--data", str(path)])
    assert told.exit_code == 2
    assert "Traceback" not in told.output


def invoke(command: list[str], weights_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    told = CliRunner().invoke(app, ["bench", *command], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    report: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return report


def test_every_system_ranks_the_same_turns_for_the_same_questions(
    file: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = invoke(["memory", "--data", str(file)], weights_home, monkeypatch)
    assert (report["bench"], report["turns"], report["conversations"]) == ("memory", 6, 1)
    assert report["questions"] == {"1": 1, "2": 1, "3": 0, "4": 1}
    assert set(report["results"]) == {"moodline", "moodline, speakers", "ordinary", "dense", "bm25", "rrf"}
    for name, numbers in report["results"].items():
        assert numbers["recall@10"] == 1, f"{name}: there are six turns in all"
        assert 0 <= numbers["recall@5"] <= 1
        assert 1 / 6 <= numbers["mrr"] <= 1
        assert not [metric for metric in numbers if metric.startswith("c3")]
    assert report["results"]["moodline"]["mrr"] == 1


def test_real_talks_are_recalled_better_than_by_either_half_alone(
    bench_data: Path, tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads((bench_data / "locomo" / "locomo_a.json").read_text(encoding="utf-8"))
    shortest = min(whole, key=lambda one: len(json.dumps(one["conversation"])))
    path = tmp_path / "one.json"
    path.write_text(json.dumps([shortest]), encoding="utf-8")
    results = invoke(["memory", "--data", str(path)], weights_home, monkeypatch)["results"]
    for rival in ("ordinary", "dense", "bm25", "rrf"):
        assert results["moodline"]["recall@10"] > results[rival]["recall@10"] + 0.05, rival
        assert results["moodline"]["recall@5"] > results[rival]["recall@5"], rival


def test_what_recall_costs_is_told_step_by_step(
    weights_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("The boat is late.\n\n我们去海边吧。\n", encoding="utf-8")
    for data in ([], ["--data", str(texts)]):
        report = invoke(["recall", "--rows", "40", "--turns", "3", *data], weights_home, monkeypatch)
        assert (report["lines"], report["memories"], report["turns"]) == (40, 40, 3)
        ours = report["results"]["moodline"]
        assert ours["recall p99 ms"] >= ours["recall p50 ms"] > 0
        assert ours["bytes"] > 40 * 2 * 384 * 4
