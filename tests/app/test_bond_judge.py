from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from app.bond.judge import BATCH, CLAIM, judge_waiting
from app.check.everything import everything
from app.services import Services, build
from app.settings import Settings
from app.tables import BondEvent, now
from models.engine import EngineRefused, EngineUnavailable, ParameterRefused
from models.scripted import ScriptedEngine

Fixture = Any
RULES = {"judged": 5, "variables": {"trust": {"least": -100}}, "feelings": {"turn": {"affinity": 0}}}


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira | {"bond": RULES})).status_code == 201


async def bond(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/api/bonds/mira", params={"user": "ana"})).json()
    return found


@pytest.fixture
async def other(services: Services, settings: Settings) -> AsyncIterator[Services]:
    """Another process, for all the two share: the same database, and an engine of its own."""
    parts = build(settings, engine=ScriptedEngine(), embedding=services.embedding)
    yield parts
    await parts.db.close()


async def kinds(services: Services) -> list[str]:
    async with services.db.read() as db:
        return list(await db.scalars(select(BondEvent.kind).order_by(BondEvent.id)))


async def test_an_exchange_is_judged_after_the_turn_by_the_language_model(
    client: httpx.AsyncClient, talk: Fixture, services: Services, engine: ScriptedEngine
) -> None:
    await talk("mira", "I mended your boat over night.", "You did?")
    before = await bond(client)
    assert await kinds(services) == ["waiting"]
    assert (await client.get("/api/bonds/mira/history?user=ana")).json()["total"] == 1, "what waits is no step yet"
    engine.replies.append('{"reason": "He worked all night.", "affinity": 4, "trust": 99}')
    assert await judge_waiting(services) == 1
    after = await bond(client)
    assert after["affinity"] == pytest.approx(before["affinity"] + 4, abs=0.011)
    assert after["variables"] == {"trust": 5}, "never more than the author allows"
    asked = engine.asked[-1]
    assert "mends nets" in asked.messages[0].content
    assert asked.messages[1].content == "ana: I mended your boat over night.\nMira: You did?"
    event = (await client.get("/api/bonds/mira/events?user=ana")).json()[0]
    assert (event["kind"], event["note"]) == ("judged", "He worked all night.")
    assert await judge_waiting(services) == 0
    assert await everything(services.db) == {}
    # Another try of the reply: what was judged of the first one counts no more.
    await talk("mira", "I mended your boat over night.", "Why?")
    assert (await bond(client))["variables"] == {"trust": 0}


async def test_the_grammar_of_an_answer_has_the_numbers_and_their_bounds(
    talk: Fixture, services: Services, engine: ScriptedEngine
) -> None:
    await talk("mira", "Hello.")
    engine.replies.append("{}")
    await judge_waiting(services)
    wanted = engine.asked[-1].sampling.response_format
    assert wanted is not None
    schema = wanted["json_schema"]["schema"]
    assert schema["required"] == ["reason", "affinity", "trust"]
    assert schema["properties"]["trust"] == {"type": "integer", "minimum": -5, "maximum": 5}
    json.dumps(wanted)


async def test_an_answer_that_can_not_be_read_changes_nothing_and_is_not_asked_for_again(
    client: httpx.AsyncClient, talk: Fixture, services: Services, engine: ScriptedEngine
) -> None:
    await talk("mira", "Hello.")
    before = await bond(client)
    engine.replies.append("She likes him more now.")
    assert await judge_waiting(services) == 1
    assert await bond(client) == before
    assert await kinds(services) == ["judged"]


async def test_while_there_is_no_language_model_exchanges_wait(
    talk: Fixture, services: Services, engine: ScriptedEngine
) -> None:
    await talk("mira", "Hello.")
    engine.replies.append(EngineUnavailable("away"))
    with pytest.raises(EngineUnavailable):
        await judge_waiting(services)
    assert await kinds(services) == ["waiting"]
    engine.replies.append('{"affinity": 1, "trust": 0, "reason": ""}')
    assert await judge_waiting(services) == 1, "nobody has taken what could not be judged"
    assert await kinds(services) == ["judged"]


async def test_two_processes_judge_each_exchange_once(
    client: httpx.AsyncClient, talk: Fixture, services: Services, engine: ScriptedEngine, other: Services
) -> None:
    for number in range(BATCH + 2):
        await talk("mira", f"Net {number}, all mended.", f"Thanks for net {number}.")
    before = len(engine.asked)
    assert isinstance(other.engine, ScriptedEngine)
    engine.pace = other.engine.pace = asyncio.Event()
    for one in (engine, other.engine):
        one.replies.extend(['{"affinity": 0, "trust": 1, "reason": ""}'] * (BATCH + 2))
    judging = [asyncio.create_task(judge_waiting(parts)) for parts in (services, other)]
    while len(engine.asked) - before + len(other.engine.asked) < BATCH + 2:
        await asyncio.sleep(0)
    assert [await judge_waiting(parts) for parts in (services, other)] == [0, 0], "all are taken"
    engine.pace.set()
    assert sorted(await asyncio.gather(*judging)) == [2, BATCH]
    asked = [one.messages[1].content for one in (*engine.asked[before:], *other.engine.asked)]
    assert len(asked) == len(set(asked)) == BATCH + 2
    assert await kinds(services) == ["judged"] * (BATCH + 2)
    assert (await bond(client))["variables"] == {"trust": BATCH + 2}


async def test_who_is_stopped_leaves_an_exchange_to_others(
    talk: Fixture, services: Services, engine: ScriptedEngine, other: Services
) -> None:
    await talk("mira", "Hello.")
    engine.pace = asyncio.Event()
    engine.replies.append("{}")
    judging = asyncio.create_task(judge_waiting(services))
    while len(engine.asked) < 2:
        await asyncio.sleep(0)
    assert await judge_waiting(other) == 0
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    assert isinstance(other.engine, ScriptedEngine)
    other.engine.replies.append("{}")
    assert await judge_waiting(other) == 1


async def test_what_a_process_took_that_died_is_judged_by_another(talk: Fixture, services: Services) -> None:
    await talk("mira", "Hello.")
    assert isinstance(services.engine, ScriptedEngine)
    services.engine.replies.append("{}")
    for since, judged in ((now() - CLAIM / 2, 0), (now() - 2 * CLAIM, 1)):
        async with services.db.write() as db:
            await db.execute(update(BondEvent).values(claimed_at=since))
        assert await judge_waiting(services) == judged


async def test_one_that_the_language_model_turns_down_holds_up_no_other(
    talk: Fixture, services: Services, engine: ScriptedEngine
) -> None:
    await talk("mira", "Hello.")
    engine.replies.append(EngineRefused("too long"))
    assert await judge_waiting(services) == 1
    assert await kinds(services) == ["judged"]


async def test_a_language_model_that_knows_no_schemas_is_asked_without_one(
    client: httpx.AsyncClient, talk: Fixture, services: Services, engine: ScriptedEngine
) -> None:
    await talk("mira", "Hello.")
    answer = '<think>{"trust": 1} or more?</think>{"affinity": 0, "trust": 3, "reason": ""}'
    engine.replies.extend([ParameterRefused("no schemas here", "response_format"), answer])
    assert await judge_waiting(services) == 1
    assert engine.asked[-1].sampling.response_format is None
    assert (await bond(client))["variables"] == {"trust": 3}


async def test_an_answer_that_comes_when_the_user_was_erased_brings_nothing_back(
    client: httpx.AsyncClient, talk: Fixture, services: Services, engine: ScriptedEngine, rows: Fixture
) -> None:
    before = await rows()
    await talk("mira", "Hello.")
    engine.pace = asyncio.Event()
    engine.replies.append('{"affinity": 1, "trust": 1, "reason": ""}')
    judging = asyncio.create_task(judge_waiting(services))
    while len(engine.asked) < 2:
        await asyncio.sleep(0)
    assert (await client.delete("/api/users?user=ana")).status_code == 200
    engine.pace.set()
    await judging
    assert await rows() == before


async def test_what_nobody_wants_judged_any_more_waits_no_longer(
    client: httpx.AsyncClient, mira: dict[str, Any], talk: Fixture, services: Services
) -> None:
    await talk("mira", "Hello.")
    plain = {key: value for key, value in mira.items() if key not in ("slug", "lore")}
    await client.put("/api/characters/mira", json=plain, headers={"If-Match": "*"})
    await judge_waiting(services)
    assert await kinds(services) == []
