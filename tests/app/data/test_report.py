"""`moodline data report`, `split` and `dedup` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli.main import app
from models.example import Example, read_examples, write_examples
from models.scene import Message, Scene

SAID = "Tell me of the {} that went down behind the {} island, and of those who were aboard."


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    ships = ("barge", "ferry", "cutter", "galley", "schooner")
    examples = [
        Example(
            Scene("Ana", "en", "", history=(Message("user", SAID.format(ship, number)),)),
            f"{number} hands, and the {ship}'s {('cat', 'dog', 'rat', 'hen', 'ape')[number % 5]} drowned. " * 3,
            id=f"{ship}-{number}",
            group=f"{number}",
        )
        for number in range(40)
        for ship in ships
    ]
    write_examples(tmp_path / "rows.jsonl", [*examples, examples[0]])
    return tmp_path / "rows.jsonl"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_rows_are_divided_the_same_way_every_time_and_nothing_crosses(rows: Path):
    assert run("split", rows, "--test", "0.2").exit_code == 0
    train, test = rows.with_name("rows.train.jsonl"), rows.with_name("rows.test.jsonl")
    first = train.read_bytes(), test.read_bytes()
    assert run("split", rows, "--test", "0.2").exit_code == 1
    assert run("split", rows, "--test", "0.2", "--force").exit_code == 0

    assert (train.read_bytes(), test.read_bytes()) == first
    sides = [list(read_examples(file)) for file in (train, test)]
    assert sum(map(len, sides)) == 201
    assert all(sides)
    told = json.loads(run("report", train, test, "--json").output)
    assert [one for one in told["crossings"] if "same" in one["why"] and "nearly" not in one["why"]] == []
    assert told["crossings"] == []


def test_repeats_are_left_out_and_counted(rows: Path):
    clean = rows.with_name("clean.jsonl")

    done = run("dedup", rows, "--near", "1", "-o", clean)

    assert "Left out: 1 repeats, 0 near ones." in done.output.replace("\n", " ")
    assert len(list(read_examples(clean))) == 200
    again = run("dedup", rows, "--against", clean, "-o", rows.with_name("none.jsonl"))
    assert (again.exit_code, "no row came of it" in again.output.replace("\n", " ")) == (1, True)


def test_a_report_is_read_by_people_and_programs(rows: Path):
    told, numbers = run("report", rows), run("report", rows, "--json")

    for words in ("201: 0 pairs", "Ana 201 rows of 40 groups", "estimate, a rule", "barge-0 = barge-0"):
        assert words in " ".join(told.output.split())
    assert json.loads(numbers.output)["files"][str(rows)]["exact"]["count"] >= 1


def test_what_cannot_be_counted_or_divided_is_told(rows: Path):
    one = rows.with_name("one.jsonl")
    write_examples(one, [next(read_examples(rows))])

    assert "can't be divided" in " ".join(run("split", one).output.split())
    assert "tokenizer.json is not there" in " ".join(run("report", rows, "--tokenizer", "nowhere").output.split())
    assert run("report", rows.with_name("none.jsonl")).exit_code == 1
