"""The questionnaires of InCharacter, filled in by the packaged model, and by a script that knows the labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.evaluation.personality import fill, items_of, labels_of, measured
from app.evaluation.questionnaires import read_questionnaire
from models.judging.asking import Answers, Asked
from models.scripted import ScriptedEngine


async def test_a_role_that_answers_as_it_is_labelled_is_right_in_every_dimension(
    bench_data: Path, tmp_path: Path
) -> None:
    folder = bench_data / "personality"
    form = read_questionnaire(folder / "16Personalities.json")
    labels = labels_of(folder / "charactereval_labels.json", form, "孙悟空")
    items = items_of(form, labels, 0)
    high = {name: label.kind == "H" for name, label in labels["孙悟空"].items()}
    told = ["7" if high[item.statement.dimension] != item.statement.reverse else "1" for item in items]
    plain = ScriptedEngine(told, abilities=frozenset())
    filled = await fill(Asked(plain, "s", Answers(tmp_path), 1), None, form, items, "")
    found = measured(form, filled, labels)
    assert found["Acc(Full)"].mean == found["Acc(Dim)"].mean == 1.0  # type: ignore[union-attr]
    assert found["MAE"].mean == pytest.approx((1 + 44 + 4 + 0) / 4 / 100)  # type: ignore[union-attr]
    assert len(plain.asked) == 60


async def test_a_judge_reads_interviews_without_being_told_whose_and_nonsense_is_counted(
    bench_data: Path, tmp_path: Path
) -> None:
    folder = bench_data / "personality"
    form = read_questionnaire(folder / "16Personalities.json")
    labels = labels_of(folder / "charactereval_labels.json", form, "孙悟空")
    items = items_of(form, labels, 2)
    engine = ScriptedEngine(["俺老孙孙悟空最爱热闹！", "花果山上谁不是俺的朋友？"])
    judge = ScriptedEngine(["6", "这个嘛，说不好，也许六也许七"], abilities=frozenset())
    kept = Answers(tmp_path)
    filled = await fill(Asked(engine, "s", kept, 1), Asked(judge, "j", kept, 1), form, items, "")
    assert [choice and choice.value for choice in filled.choices] == [6.0, None]
    assert measured(form, filled, labels)["unreadable"] == 1
    assert "俺老孙X最爱热闹" in judge.asked[0].messages[0].content
    assert "孙悟空" not in judge.asked[0].messages[0].content


def test_the_packaged_model_fills_one_in_by_first_token_probabilities(bench_data: Path, evaluated) -> None:
    folder = bench_data / "personality"
    code, text, last = evaluated(
        *("personality", "--data", folder / "16Personalities.json", "--engine", "packaged", "--limit", 2),
        *("--labels", folder / "charactereval_labels.json", "--role", "李逵"),
    )
    assert code == 0, text
    found = last["results"]["packaged"]
    assert 0 < found["options' probability"] <= 1
    assert found["unreadable"] == 0
    assert last["questionnaire"] == "16Personalities"


def test_wrong_files_and_roles_are_told(bench_data: Path, tmp_path: Path, evaluated) -> None:
    folder = bench_data / "personality"
    form, labels = folder / "16Personalities.json", folder / "charactereval_labels.json"
    code, text, _ = evaluated("personality", "--data", labels, "--labels", labels, "--engine", "packaged")
    assert code == 2
    assert "InCharacter's form" in text
    code, text, _ = evaluated("personality", "--data", folder / "BFI.json", "--labels", labels, "--engine", "packaged")
    assert code == 2
    assert "labels nobody for BFI" in text
    code, text, _ = evaluated("personality", "--data", form, "--labels", labels, "--engine", "x", "--role", "曹操")
    assert code == 2
    assert "孙悟空" in text
