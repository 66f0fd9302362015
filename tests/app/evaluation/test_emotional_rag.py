"""Emotional RAG's table, on the real roles, with the server's own rankings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.bench.mood import STRATEGIES
from app.evaluation.emotional_rag import banks_of, table, texts_of
from app.evaluation.personality import items_of, labels_of
from app.evaluation.questionnaires import read_questionnaire
from models.judging.asking import Answers, Asked
from models.scripted import ScriptedEngine


async def test_every_strategy_recalls_for_itself_and_the_emotional_ones_come_nearer_in_mood(
    bench_data: Path, tmp_path: Path, weights_home: Path, loaded_encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    folder = bench_data / "personality"
    form = read_questionnaire(folder / "16Personalities.json")
    labels = labels_of(folder / "charactereval_labels.json", form, "李逵")
    items = items_of(form, labels, 12)
    banks = banks_of(texts_of(bench_data / "charactereval" / "contexts_a.json", {"李逵"}), loaded_encoder[0])
    engine = ScriptedEngine(["6"] * 72, context_length=16_384, abilities=frozenset())
    told: dict[str, dict[str, Any]] = {name: {} for name in STRATEGIES}
    filled = await table(Asked(engine, "s", Answers(tmp_path), 1), None, form, items, labels, banks, "", told)
    assert all(choice and choice.value == 6 for one in filled.values() for choice in one.choices)
    prompts = {asked.messages for asked in engine.asked}
    assert len(prompts) > 3 * len(items), "strategies put other memories into the prompt"
    assert any("李逵：" in message.content for message in engine.asked[0].messages)
    distance = {name: row["16Personalities emotional distance"].mean for name, row in told.items()}
    near = {name: row["16Personalities similarity"].mean for name, row in told.items()}
    assert max(distance["c-a"], distance["c-m"], distance["s-s"], distance["s-e"]) < distance["ordinary"]
    assert max(near, key=lambda name: near[name]) == "ordinary"
    assert told["ordinary"]["16Personalities Acc(Dim) over ordinary"].mean == 0


def test_a_role_without_lines_is_told(bench_data: Path, evaluated) -> None:
    folder = bench_data / "personality"
    code, text, _ = evaluated(
        *("emotional-rag", "--data", folder / "16Personalities.json", "--labels", folder / "charactereval_labels.json"),
        *("--lines", bench_data / "charactereval" / "contexts_a.json", "--engine", "packaged", "--role", "白展堂"),
    )
    assert code == 2
    assert "no lines of 白展堂" in text
