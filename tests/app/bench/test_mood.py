"""`moodline bench mood`: what is asked of what, and the promise that moods are shared at little cost."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.bench.mood import _moods
from app.bond.affinity import INERTIA
from app.cli.main import app


def invoke(data: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    told = CliRunner().invoke(app, ["bench", "mood", "--data", str(data)], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    report: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return report


def test_a_dialogues_mood_begins_with_what_is_felt_first_and_blends_what_follows() -> None:
    felt = np.array([[0.5] * 8, [1.0] * 8, [0.0] * 8], np.float32)
    second = INERTIA * 0.5 + (1 - INERTIA)
    np.testing.assert_allclose(_moods(felt)[:, 0], [0.5, second, INERTIA * second], rtol=1e-6)


def test_real_texts_are_recalled_by_mood_at_little_cost_in_meaning(
    bench_data: Path, tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in (bench_data / "goemotions" / "dev.tsv").read_text(encoding="utf-8").split("\n") if row]
    part = tmp_path / "part.tsv"
    part.write_text("\n".join(random.Random(3).sample(rows, 1000)) + "\n", encoding="utf-8")
    report = invoke(part, weights_home, monkeypatch)
    results = report["results"]
    assert set(results) == {"moodline", "ordinary", "c-a", "c-m", "s-s", "s-e", "random", "oracle"}
    assert report["bank"] + report["left_out"] <= 1000
    plain, ours = results["ordinary"], results["moodline"]
    assert results["random"]["match@10"] < plain["match@10"] < ours["match@10"] < results["oracle"]["match@10"]
    assert ours["distance"] < plain["distance"]
    assert ours["similarity"] > results["random"]["similarity"]
    for strategy in ("c-a", "c-m", "s-s", "s-e"):
        assert results[strategy]["distance"] < plain["distance"]
        assert results[strategy]["similarity"] <= plain["similarity"]


def test_dialogues_are_kept_together(tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = "TV_ID,Dialogue_ID,Utterance_ID,Speaker,Emotion,Utterance"
    said = [("太好了，我真开心！", "happy"), ("你给我滚出去！", "anger"), ("今天星期二。", "neutral")]
    rows = [
        f"1,1_{dialogue},1_{dialogue}_{n},甲,{emotion},{text}{dialogue}"
        for dialogue in range(4)
        for n, (text, emotion) in enumerate(said)
    ]
    file = tmp_path / "talks.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    report = invoke(file, weights_home, monkeypatch)
    assert report["bank"] == 6, "two of four dialogues"
    assert report["queries"] == 4, "neutral texts do not ask"
    assert report["results"]["oracle"]["match@10"] == pytest.approx(1 / 3, abs=1e-4), "two of the six that there are"


@pytest.mark.parametrize("content", [None, "no labels here\n"])
def test_a_file_of_another_form_ends_in_one_sentence(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "texts.tsv"
    if content:
        path.write_text(content, encoding="utf-8")
    told = CliRunner().invoke(app, ["bench", "mood", "--data", str(path)])
    assert told.exit_code == 2
    assert "Traceback" not in told.output
