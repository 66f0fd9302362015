"""What goes by itself after some days: traces, and what was deleted. In small steps, so that nobody waits.

Memories stay, however old. Only those go that belong to something deleted: one at rest of which no message is left, and
those of a character that is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.store import hold_bond, lock_bond
from app.chat import progress
from app.db import Database
from app.services import Services
from app.sessions.removal import STEP, remove_messages, remove_some
from app.sessions.settle import parties, settle
from app.sessions.store import Scope
from app.settings import Settings
from app.tables import Bond, Character, Line, Memory, Message, Session, Trace, now

log = logging.getLogger("moodline")
LOOK_EVERY = 60.0
PRUNE_EVERY = 3600.0
"""Seconds."""
REST = 0.05
"""Seconds between two steps, in which others write."""

Due = tuple[type[Any], ColumnElement[bool]]


async def keep_pruned(services: Services) -> None:
    """Prune now and then, and drop the banks of who was erased, for as long as the server runs."""
    pruned = 0.0
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            await drop_banks_of_the_erased(services)
            if monotonic() - pruned > PRUNE_EVERY:
                pruned = monotonic()
                await prune(services.db, services.settings)
        except Exception:
            log.exception("pruning in the background failed; it is tried again in %d s", LOOK_EVERY)


async def count_due(db: Database, settings: Settings) -> dict[str, int]:
    """How many rows of each table would go now, without what hangs on them."""
    async with db.read() as session:
        counts = {
            table.__tablename__: await session.scalar(select(func.count()).select_from(table).where(old)) or 0
            for table, old in _due(settings)
        }
    return {table: count for table, count in counts.items() if count}


async def prune(db: Database, settings: Settings) -> dict[str, int]:
    """Take away all that is due; returns how many rows of each table went. Safe to stop and to run twice at once."""
    removed: Counter[str] = Counter()
    takers: dict[type[Any], Callable[[AsyncSession, ColumnElement[bool]], Awaitable[dict[str, int]]]] = {
        Trace: _some_traces,
        Message: _some_messages,
        Session: _some_of_a_session,
        Character: _some_of_a_character,
    }
    for table, old in _due(settings):
        while True:
            async with db.write() as session:
                gone = await takers[table](session, old)
            if not gone:
                break
            removed.update(gone)
            await asyncio.sleep(REST)
    async with db.write() as session:
        await progress.prune(session, settings.replay_hours)
    if removed:
        log.info("pruned %s", dict(removed))
    return dict(removed)


async def drop_banks_of_the_erased(services: Services) -> None:
    """A user without a bond is nobody; another process may have erased them."""
    keys = [key for key in services.memories.keys if isinstance(key, Scope)]
    columns = (Bond.owner, Bond.user, Bond.character_id)
    for begin in range(0, len(keys), STEP):
        part = keys[begin : begin + STEP]
        scopes = [(one.owner, one.user, one.character_id) for one in part]
        async with services.db.read() as db:
            known = {tuple(row) for row in await db.execute(select(*columns).where(tuple_(*columns).in_(scopes)))}
        for one, scope in zip(part, scopes, strict=True):
            if scope not in known:
                services.memories.discard(one)


def _due(settings: Settings) -> Iterator[Due]:
    if settings.trace_days:
        yield Trace, Trace.created_at < _days_ago(settings.trace_days)
    if settings.deleted_days:
        before = _days_ago(settings.deleted_days)
        yield Message, Message.deleted_at < before
        yield Session, Session.deleted_at < before
        yield Character, Character.deleted_at < before


def _days_ago(days: int) -> datetime:
    return now() - timedelta(days=days)


async def _some_traces(db: AsyncSession, old: ColumnElement[bool]) -> dict[str, int]:
    # In an order and around what others hold: an erasure takes traces away as well.
    some = select(Trace.id).where(old).order_by(Trace.id).limit(STEP)
    ids = list(await db.scalars(some.with_for_update(skip_locked=True)))
    await db.execute(delete(Trace).where(Trace.id.in_(ids)))
    return {"traces": len(ids)} if ids else {}


async def _some_messages(db: AsyncSession, old: ColumnElement[bool]) -> dict[str, int]:
    """Those of one session."""
    session_id = await db.scalar(select(Message.session_id).where(old).limit(1))
    if session_id is None:
        return {}
    await _lock(db, session_id)
    deepest = select(Message.id).where(Message.session_id == session_id, old).order_by(Message.depth.desc())
    ids = list(await db.scalars(deepest.limit(STEP)))
    return await remove_messages(db, ids) if ids else {}


async def _some_of_a_session(db: AsyncSession, old: ColumnElement[bool]) -> dict[str, int]:
    session_id = await db.scalar(select(Session.id).where(old).limit(1))
    if session_id is None:
        return {}
    await _lock(db, session_id)
    if await db.scalar(select(Session.id).where(Session.id == session_id, old)) is None:
        return {}  # somebody has restored it meanwhile; the others have time
    return await remove_some(db, session_id)


async def _some_of_a_character(db: AsyncSession, old: ColumnElement[bool]) -> dict[str, int]:
    """Its conversations with everyone, its memories, its lines, and at last itself with all that is small."""
    # Nobody restores it meanwhile; turns that refer to it need not wait.
    character_id = await db.scalar(select(Character.id).where(old).limit(1).with_for_update(key_share=True))
    if character_id is None:
        return {}
    session_id = await db.scalar(select(Session.id).where(Session.character_id == character_id).limit(1))
    if session_id is not None:
        await _count_no_more(db, session_id)
        await _lock(db, session_id)
        return await remove_some(db, session_id)
    for table in (Memory, Line):
        # The newest first: none of them is pointed at by one that stays.
        newest = select(table.id).where(table.character_id == character_id).order_by(table.id.desc()).limit(STEP)
        if ids := list(await db.scalars(newest)):
            await db.execute(delete(table).where(table.id.in_(ids)))
            return {table.__tablename__: len(ids)}
    await db.execute(delete(Character).where(Character.id == character_id))
    return {"characters": 1}


async def _count_no_more(db: AsyncSession, session_id: str) -> None:
    """A talk that goes with its group has to let go of what the members, who stay, have of it."""
    session = await db.get_one(Session, session_id)
    heard = await parties(db, session)
    if session.deleted_at is None and len(heard) > 1:
        scope = Scope(session.owner, session.user, session.character_id)
        for one in heard:
            await lock_bond(db, replace(scope, character_id=one))
        session.deleted_at = now()
        await settle(db, scope, session)


async def _lock(db: AsyncSession, session_id: str) -> None:
    """As turns do first; of a user who was erased meanwhile there is nothing to lock."""
    session = await db.get(Session, session_id)
    if session is not None:
        await hold_bond(db, Scope(session.owner, session.user, session.character_id))
        db.expunge(session)
