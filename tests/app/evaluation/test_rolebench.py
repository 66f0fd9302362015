"""RoleBench: references, a system's answers, and an engine, each scored by ROUGE-L."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.judging.overlap import rouge_l


def rows(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return file


def row(question: str, *answers: str, kind: object = "script_based") -> dict[str, Any]:
    return {"role": "皇帝", "question": question, "generated": list(answers), "type": kind}


def test_a_systems_answers_are_scored_by_kind_on_the_questions_it_shares(tmp_path: Path, evaluated) -> None:
    data = rows(
        tmp_path / "t.jsonl", row("你是谁？", "朕是皇帝。"), row("1+1", "二", kind=["general"]), row("无人答", "无")
    )
    raw = rows(tmp_path / "raw.jsonl", row("1+1", "等于二"))
    baseline = rows(tmp_path / "b.jsonl", row(" 你是谁？ ", "朕乃皇帝。"), row("1+1", "二"))
    code, text, last = evaluated("rolebench", "--data", data, "--answers", baseline, "--raw", raw)
    assert code == 0, text
    found = last["results"]["b.jsonl"]
    assert found["SPE"]["mean"] == pytest.approx(2 * 3 / 8)
    assert found["CUS"]["mean"] == 1.0
    assert found["RAW"]["mean"] == pytest.approx(rouge_l("二", ["等于二"]))
    assert (last["questions"], found["ROUGE-L"]["n"]) == (3, 3)


def test_the_packaged_model_answers_and_is_compared_pair_by_pair(tmp_path: Path, evaluated) -> None:
    data = rows(
        tmp_path / "t.jsonl", row("Who are you?", "I am the emperor of all China."), row("Why?", "I was born so.")
    )
    out = tmp_path / "out.json"
    code, text, last = evaluated(
        "rolebench", "--data", data, "--answers", data, "--engine", "packaged", "--limit", 1, "--out", out
    )
    assert code == 0, text
    ours, difference = last["results"]["packaged"]["ROUGE-L"], last["results"]["difference"]["ROUGE-L"]
    assert difference["mean"] == pytest.approx(ours["mean"] - 1, abs=1e-3)
    (kept,) = json.loads(out.read_text("utf-8"))["rows"]
    assert kept["packaged"]
    assert kept["t.jsonl"] == kept["references"][0]


def test_results_go_into_a_folder_that_is_made_and_where_that_can_not_be_it_is_told(tmp_path: Path, evaluated) -> None:
    data = rows(tmp_path / "t.jsonl", row("你是谁？", "朕是皇帝。"))
    task = ("rolebench", "--data", data, "--answers", data, "--out")
    code, text, last = evaluated(*task, tmp_path / "new" / "out.json")
    assert code == 0, text
    (kept,) = json.loads((tmp_path / "new" / "out.json").read_text("utf-8"))["rows"]
    assert (kept["t.jsonl"], last["questions"]) == ("朕是皇帝。", 1)
    code, text, _ = evaluated(*task, data / "out.json")
    assert code == 2
    assert "can't be written" in text


def test_bad_files_are_told_with_the_line(tmp_path: Path, evaluated) -> None:
    data = rows(tmp_path / "t.jsonl", row("a", "b"), {"role": "皇帝", "question": "c", "generated": []})
    code, text, _ = evaluated("rolebench", "--data", data, "--engine", "packaged")
    assert code == 2
    assert "line 2" in text
    code, text, _ = evaluated("rolebench", "--data", tmp_path / "none.jsonl", "--engine", "packaged")
    assert code == 2
    assert "can't be read" in text
    data = rows(tmp_path / "t.jsonl", row("a", "b"))
    code, text, _ = evaluated("rolebench", "--data", data, "--answers", rows(tmp_path / "b.jsonl", row("x", "y")))
    assert code == 2
    assert "answers none" in text
    assert evaluated("rolebench", "--data", data)[0] == 2


def test_an_engine_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, evaluated) -> None:
    data = rows(tmp_path / "t.jsonl", row("a", "b"))
    code, text, _ = evaluated("rolebench", "--data", data, "--engine", tmp_path)
    assert code == 1
    assert "There is no engine" in text
    code, text, _ = evaluated("rolebench", "--data", data, "--engine", "http://127.0.0.1:9/v1#char/mara")
    assert code == 1


def test_rolegpts_own_answers_come_near_the_references_of_rolebench(bench_data: Path, evaluated) -> None:
    folder = bench_data / "rolebench"
    code, text, last = evaluated(
        *("rolebench", "--data", folder / "zh_role_specific_train.jsonl"),
        *("--answers", folder / "zh_role_specific_rolegpt_baseline.jsonl"),
    )
    assert code == 0, text
    found = last["results"]["zh_role_specific_rolegpt_baseline.jsonl"]["SPE"]
    assert 0.1 < found["low"] <= found["mean"] <= found["high"] < 0.9
