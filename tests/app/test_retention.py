from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, func, insert, select, update

from app.bond.store import lock_bond
from app.check.everything import everything
from app.retention import count_due, drop_banks_of_the_erased, prune
from app.services import Services
from app.sessions.find import scope_of
from app.sessions.settle import settle
from app.tables import Bond, Character, Memory, Message, Session, Trace, now

Talk = Callable[..., Awaitable[httpx.Response]]
LINES = "Sam: Is it mended?\nMira: Almost, give me an hour and some light."


@pytest.fixture
async def talked(client: httpx.AsyncClient, talk: Talk, mira: dict[str, Any]) -> list[str]:
    """Two conversations of one user and one of another; their ids."""
    await client.post("/api/characters", json=mira)
    await client.post("/api/characters/mira/lines", content=LINES)
    turns = [await talk("mira", said, user=user) for said, user in (("One.", "ana"), ("Two.", "ana"), ("Three.", "bo"))]
    return [turn.headers["x-session-id"] for turn in turns]


async def ago(services: Services, table: Any, column: str, days: float, *which: Any) -> None:
    async with services.db.write() as db:
        await db.execute(update(table).where(*which).values({column: now() - timedelta(days=days)}))


async def count(services: Services, table: Any, *which: Any) -> int:
    async with services.db.read() as db:
        return await db.scalar(select(func.count()).select_from(table).where(*which)) or 0


@pytest.mark.usefixtures("talked")
async def test_traces_go_after_their_days_and_nothing_else_does(services: Services) -> None:
    settings = services.settings
    assert await prune(services.db, settings) == {}
    await ago(services, Trace, "created_at", settings.trace_days + 0.1)
    forever = settings.model_copy(update={"trace_days": 0})
    assert await prune(services.db, forever) == {}
    assert await count_due(services.db, settings) == {"traces": 3}
    assert await prune(services.db, settings) == {"traces": 3}
    assert await count(services, Memory) == await count(services, Session) == 3


async def test_what_was_deleted_is_kept_for_ever_until_days_are_set(
    client: httpx.AsyncClient, services: Services, talked: list[str]
) -> None:
    first, second, _third = talked
    for session in (first, second):
        assert (await client.delete(f"/api/sessions/{session}", headers={"If-Match": "*"})).status_code == 204
    await ago(services, Session, "deleted_at", 8, Session.id == first)
    await ago(services, Session, "deleted_at", 6, Session.id == second)
    assert await prune(services.db, services.settings) == {}
    week = services.settings.model_copy(update={"deleted_days": 7})
    assert await count_due(services.db, week) == {"sessions": 1}
    assert await prune(services.db, week) == {"messages": 2, "memories": 1, "traces": 1, "sessions": 1}
    assert await prune(services.db, week) == {}
    assert await count(services, Memory) == 2, "what can be restored, and what counts, is remembered"
    assert await everything(services.db) == {}


async def test_what_is_restored_while_it_is_about_to_go_stays(
    client: httpx.AsyncClient, services: Services, talked: list[str]
) -> None:
    assert (await client.delete(f"/api/sessions/{talked[0]}", headers={"If-Match": "*"})).status_code == 204
    await ago(services, Session, "deleted_at", 8, Session.id == talked[0])
    week = services.settings.model_copy(update={"deleted_days": 7})
    async with services.db.write() as db:
        session = await db.get_one(Session, talked[0])
        await lock_bond(db, scope_of(session))
        pruning = asyncio.create_task(prune(services.db, week))
        await asyncio.wait({pruning}, timeout=0.5)
        session.deleted_at = None
        await settle(db, scope_of(session), session)
    assert await pruning == {}
    assert await count(services, Message, Message.session_id == talked[0], Message.active) == 2


async def test_pruning_makes_nobody_known_again_who_was_erased(
    client: httpx.AsyncClient, services: Services, talked: list[str]
) -> None:
    """An erasure that has come to its end after the pruner found what is due."""
    for session in talked[:2]:
        assert (await client.delete(f"/api/sessions/{session}", headers={"If-Match": "*"})).status_code == 204
    await ago(services, Session, "deleted_at", 8, Session.deleted_at.is_not(None))
    await ago(services, Message, "deleted_at", 8, Message.session_id == talked[2])
    async with services.db.write() as db:
        await db.execute(delete(Bond))
    week = services.settings.model_copy(update={"deleted_days": 7})
    assert (await prune(services.db, week))["sessions"] == 2
    assert await count(services, Bond) == 0


async def test_a_copy_of_a_message_that_is_gone_keeps_its_memory(services: Services, talked: list[str]) -> None:
    """The original goes with its conversation; the exchange is current in another."""
    first, second, _third = talked
    async with services.db.write() as db:
        said, reply = await db.scalars(select(Message).where(Message.session_id == first).order_by(Message.depth))
        leaf = await db.scalar(select(Session.leaf_id).where(Session.id == second))
        below = await db.get_one(Message, leaf)
        same = {"session_id": second, "active": False, "path_hash": "", "outcome": "finished"}
        rows = [
            same
            | {"id": f"copy-{one.role}", "parent_id": above, "depth": below.depth + n, "origin_id": one.id}
            | {"role": one.role, "text": one.text, "emotion": one.emotion}
            for n, (one, above) in enumerate([(said, below.id), (reply, "copy-user")], 1)
        ]
        await db.execute(insert(Message), rows)
        await db.execute(update(Session).where(Session.id == second).values(leaf_id="copy-assistant"))
    await everything(services.db, repair=True)
    assert await everything(services.db) == {}
    await ago(services, Session, "deleted_at", 8, Session.id == first)
    await everything(services.db, repair=True)
    week = services.settings.model_copy(update={"deleted_days": 7})
    assert (await prune(services.db, week))["messages"] == 2
    assert await count(services, Memory, Memory.user == "ana", ~Memory.retired) == 2
    assert await everything(services.db) == {}


async def test_messages_that_were_deleted_go_with_what_only_they_held(
    services: Services, talk: Talk, talked: list[str]
) -> None:
    await talk("mira", "And four.", session=talked[0])
    await ago(services, Message, "deleted_at", 8, Message.session_id == talked[0], Message.depth >= 2)
    async with services.db.write() as db:
        leaf = await db.scalar(select(Message.id).where(Message.session_id == talked[0], Message.depth == 1))
        await db.execute(update(Session).where(Session.id == talked[0]).values(leaf_id=leaf))
    await everything(services.db, repair=True)
    week = services.settings.model_copy(update={"deleted_days": 7})
    assert await prune(services.db, week) == {"messages": 2, "memories": 1}
    assert await everything(services.db) == {}
    assert await count(services, Message, Message.session_id == talked[0]) == 2


@pytest.mark.usefixtures("talked")
async def test_a_character_that_was_deleted_takes_all_that_is_its_own(
    client: httpx.AsyncClient, services: Services, rows: Callable[[], Awaitable[dict[str, int]]]
) -> None:
    await client.delete("/api/characters/mira", headers={"If-Match": "*"})
    await ago(services, Character, "deleted_at", 8)
    week = services.settings.model_copy(update={"deleted_days": 7})
    removed = await prune(services.db, week)
    assert removed["characters"] == 1
    assert removed["lines"] == 1
    left = {table for table, number in (await rows()).items() if number}
    assert left <= {"turns", "keyed_calls"}


@pytest.mark.usefixtures("talked")
async def test_the_bank_of_someone_whom_another_process_erased_is_dropped(services: Services, talk: Talk) -> None:
    # Who has just come has no bank yet.
    await talk("mira", "Four.", user="bo")
    before = len(services.memories)
    assert before >= 2
    await drop_banks_of_the_erased(services)
    assert len(services.memories) == before
    async with services.db.write() as db:
        await db.delete((await db.scalars(select(Bond).where(Bond.user == "ana"))).one())
    await drop_banks_of_the_erased(services)
    assert {scope.user for scope in services.memories.keys} == {"bo"}  # type: ignore[attr-defined]
