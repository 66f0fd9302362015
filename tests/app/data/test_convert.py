"""`moodline data import` and `export` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from app.cli.main import app
from models.example import read_examples

ROWS = [{"instruction": "你是谁？", "input": "", "output": "臣妾甄嬛。", "system": "你来演甄嬛。"}]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_rows_go_in_and_come_out_again(tmp_path: Path):
    source, rows, back = tmp_path / "a.json", tmp_path / "rows.jsonl", tmp_path / "back.json"
    source.write_text(json.dumps(ROWS), "utf-8")

    brought = run("import", source, "--role", "甄嬛", "-o", rows)
    sent = run("export", rows, "--format", "alpaca", "-o", back)

    assert "1 row, read as alpaca (detected)" in brought.output.replace("\n", "")
    assert (brought.exit_code, sent.exit_code) == (0, 0)
    assert json.loads(back.read_text("utf-8")) == ROWS
    assert json.loads(sent.output.splitlines()[-1])["back"]["file_name"] == "back.json"


def test_a_persona_is_words_or_a_file_and_is_served_with_the_rows(tmp_path: Path):
    source, rows, persona = tmp_path / "a.jsonl", tmp_path / "rows.jsonl", tmp_path / "who.txt"
    source.write_text('{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}', "utf-8")
    persona.write_text("A sailor.\n", "utf-8")

    assert run("import", source, "--role", "Ana", "--persona", persona, "-o", rows).exit_code == 0
    (example,) = read_examples(rows)
    assert example.scene.persona == "A sailor."
    run("export", rows, "--format", "openai", "-o", tmp_path / "out.jsonl")
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text("utf-8").splitlines())
    assert "A sailor." in row["messages"][0]["content"]


def test_a_damaged_row_is_named_and_leaves_nothing_behind(tmp_path: Path):
    source = tmp_path / "a.jsonl"
    source.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a"}\n', "utf-8")

    done = run("import", source, "-o", tmp_path / "rows.jsonl")

    assert done.exit_code == 1
    assert "line 2: output must be a text" in done.output.replace("\n", " ")
    assert "Nothing was written." in done.output.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path):
    source, rows = tmp_path / "a.json", tmp_path / "rows.jsonl"
    source.write_text(json.dumps(ROWS), "utf-8")
    rows.write_text("mine", "utf-8")

    assert run("import", source, "-o", rows).exit_code == 1
    assert rows.read_text("utf-8") == "mine"
    assert run("import", source, "-o", rows, "--force").exit_code == 0
    assert run("import", tmp_path / "none.json", "-o", rows, "--force").exit_code == 1
    assert len(list(read_examples(rows))) == 1


def test_a_file_without_rows_is_not_exported(tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("", "utf-8")

    done = run("export", rows, "--format", "alpaca", "-o", tmp_path / "out.json")

    assert (done.exit_code, "has no rows" in done.output) == (1, True)
    assert not (tmp_path / "out.json").exists()


def test_a_roles_lines_are_cut_out_of_a_script_with_its_card(tmp_path: Path):
    script, cards, rows = tmp_path / "a.txt", tmp_path / "cards.json", tmp_path / "rows.jsonl"
    script.write_text("第1幕\n甲：早。\n乙（笑）：早啊。\n", "utf-8")
    cards.write_text(json.dumps({"乙": {"姓名": "乙", "爱好": ["茶", "棋"]}}), "utf-8")

    done = run("pairs", script, "--role", "乙", "--persona", cards, "-o", rows)

    assert (done.exit_code, "1 scenes, 2 lines, 1 by 乙" in done.output.replace("\n", " ")) == (0, True)
    (example,) = read_examples(rows)
    assert (example.scene.persona, example.reply) == ("姓名：乙\n爱好：茶；棋", "早啊。")
    absent = run("pairs", script, "--role", "丙", "-o", tmp_path / "none.jsonl")
    assert (absent.exit_code, "Speakers are 甲, 乙" in absent.output.replace("\n", " ")) == (1, True)
    assert not (tmp_path / "none.jsonl").exists()
