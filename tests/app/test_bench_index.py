"""`moodline bench index`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.bench import index
from app.cli.main import app


def bench(*arguments: str):
    return CliRunner().invoke(app, ["bench", "index", *arguments])


def test_exact_search_misses_nothing_and_every_system_is_told_for_every_number_of_rows() -> None:
    result = bench("--rows", "30,600", "--systems", "moodline,numpy")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["bench"], told["rows"], told["vectors"]) == ("index", 600, "synthetic clusters")
    for results in (told["results"], told["other_rows"]["30"]):
        assert {name: numbers["recall@10"] for name, numbers in results.items()} == {"moodline": 1.0, "numpy": 1.0}
        assert all(numbers["search_p50_ms"] > 0 for numbers in results.values())


def test_a_system_that_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(index.SYSTEMS, "absent", ("no_such_package", index.Numpy))
    result = bench("--rows", "20", "--systems", "absent,numpy")
    said = " ".join(result.stderr.split())
    assert "absent is left out: no_such_package is not installed (pip install 'moodline[bench]')" in said
    assert list(json.loads(result.stdout.splitlines()[-1])["results"]) == ["numpy"]


@pytest.mark.parametrize("rows", ["0", "-5", "many", "10,,20", ""])
def test_rows_that_are_no_numbers_are_refused(rows: str) -> None:
    result = bench(f"--rows={rows}")
    assert result.exit_code == 2
    assert "whole numbers above 0" in result.stderr


def test_an_unknown_system_is_refused_with_the_names_of_all() -> None:
    result = bench("--rows", "20", "--systems", "elastic")
    assert result.exit_code == 2
    assert "moodline exact, numpy" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "can't be read"), (b"\xff\xfe", "can't be read"), (b"one\ntwo\none\n", "2 different")],
)
def test_a_file_of_texts_that_will_not_do_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content)
    result = bench("--rows", "20", "--data", str(file))
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
