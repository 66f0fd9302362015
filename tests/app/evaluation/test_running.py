"""A running Moodline as the engine, and an engine that goes away in the middle."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from models.judging import asking
from models.scripted import ScriptedEngine
from tests.peer import Peer


def questions(file: Path, count: int) -> Path:
    rows = [
        {"role": "Mira", "question": f"What is in net number {n}?", "generated": [f"Herring number {n}."]}
        for n in range(count)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return file


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_character_of_a_running_server_speaks_with_its_own_card(
    address: str, engine: ScriptedEngine, mira, tmp_path: Path, evaluated
) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.post("/api/characters", json=mira)).status_code == 201
    engine.replies.extend(["Herring number 0.", "Only weed and a boot."])
    data = questions(tmp_path / "q.jsonl", 2)
    spec = f"{address}/v1#char/mira"
    code, text, last = await asyncio.to_thread(evaluated, "rolebench", "--data", data, "--engine", spec, "--at-once", 1)
    assert code == 0, text
    assert last["results"][spec]["ROUGE-L"]["mean"] == pytest.approx(0.5, abs=0.2)
    assert any("mends nets by the harbour" in message.content for message in engine.asked[0].messages)
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.get("/api/sessions")).json()["items"] == []
    assert not any("Herring number 0." in message.content for message in engine.asked[1].messages)


async def test_an_engine_that_goes_away_ends_the_run_and_the_same_command_goes_on(
    tmp_path: Path, evaluated, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    said = iter(["The boot floats.", "Nothing but rope."])
    peer.answering = lambda _body: next(said, (503, {}))
    data = questions(tmp_path / "q.jsonl", 4)
    task = ("rolebench", "--data", data, "--engine", f"{peer.address}/v1#mira", "--at-once", 1)
    code, text, _ = await asyncio.to_thread(evaluated, *task)
    assert code == 1
    assert "the same command goes on from there" in text
    asked = len(peer.asked)
    said = iter(["A crab, no more.", "Nothing at all tonight."])
    code, text, last = await asyncio.to_thread(evaluated, *task)
    assert code == 0, text
    assert last["questions"] == 4
    assert len(peer.asked) == asked + 2, "what was answered is not asked again"
