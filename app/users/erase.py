"""Forget a user: every row that is theirs, in steps, so that nobody waits; safe to break off and to repeat."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.store import lock_bond
from app.db import Database
from app.services import Services
from app.sessions.removal import STEP, remove_some
from app.sessions.store import Scope
from app.tables import Bond, BondEvent, KeyedCall, Memory, Session, TurnRecord

log = logging.getLogger("moodline")


async def erase(services: Services, owner: str, user: str) -> dict[str, int]:
    """Take away all that is kept of a user and return how many rows of each table.

    The bonds go last: as long as something is left, it can be found again. Banks in this process are dropped at once,
    other processes drop theirs within a minute (`retention`). A reply that is being spoken meanwhile may be stored
    after it, as the first of a person who is new; erasing again takes it away.
    """
    removed: Counter[str] = Counter()
    for character_id in await _met(services.db, owner, user):
        scope = Scope(owner, user, character_id)
        await _remove_sessions(services.db, scope, removed)
        # Afterwards: a turn that ends meanwhile remembers nothing any more, its conversation is gone.
        await _remove_memories(services.db, scope, removed)
    await _remove_turns(services.db, owner, user, removed)
    async with services.db.write() as db:
        mine = (Bond.owner == owner, Bond.user == user)
        scopes = [Scope(owner, user, id_) for id_ in await db.scalars(select(Bond.character_id).where(*mine))]
        removed["bonds"] += len(scopes)
        removed["bond_events"] += await _remove(db, BondEvent, [BondEvent.owner == owner, BondEvent.user == user])
        await db.execute(delete(Bond).where(*mine))
    for scope in scopes:
        services.memories.discard(scope)
    await _leave_no_log(services.db)
    return {table: count for table, count in removed.items() if count}


async def _met(db: Database, owner: str, user: str) -> list[str]:
    async with db.read() as session:
        found: set[str] = set()
        for table in (Bond, Session, Memory):
            query = select(table.character_id).where(table.owner == owner, table.user == user).distinct()
            found.update(await session.scalars(query))
    return sorted(found)


async def _remove_memories(db: Database, scope: Scope, removed: Counter[str]) -> None:
    mine = (Memory.owner == scope.owner, Memory.user == scope.user, Memory.character_id == scope.character_id)
    while True:
        async with db.write() as session:
            bond = await lock_bond(session, scope)
            # The newest first: none of them is pointed at by one that stays.
            ids = list(await session.scalars(select(Memory.id).where(*mine).order_by(Memory.id.desc()).limit(STEP)))
            await session.execute(delete(Memory).where(Memory.id.in_(ids)))
            bond.memory_revision += 1
        removed["memories"] += len(ids)
        if not ids:
            return


async def _remove_sessions(db: Database, scope: Scope, removed: Counter[str]) -> None:
    mine = (Session.owner == scope.owner, Session.user == scope.user, Session.character_id == scope.character_id)
    while True:
        async with db.write() as session:
            await lock_bond(session, scope)
            found = await session.scalar(select(Session.id).where(*mine).limit(1))
            if found is None:
                return
            removed.update(await remove_some(session, found))


async def _remove_turns(db: Database, owner: str, user: str, removed: Counter[str]) -> None:
    async with db.write() as session:
        for table, which in (
            (TurnRecord, [TurnRecord.owner == owner, TurnRecord.user == user]),
            # Answers that are kept for retries don't tell whose words they hold; those of the owner's apps all go.
            (KeyedCall, [KeyedCall.owner == owner, KeyedCall.status.is_not(None)]),
        ):
            removed[table.__tablename__] += await _remove(session, table, which)


async def _remove(db: AsyncSession, table: Any, which: list[Any]) -> int:
    gone = await db.execute(delete(table).where(*which))
    return int(gone.rowcount)  # type: ignore[attr-defined]


async def _leave_no_log(db: Database) -> None:
    """SQLite's log still holds pages as they were; PostgreSQL's old row versions go with its next vacuum."""
    try:
        async with db.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.execute(
                    text("VACUUM messages, memories, sessions, traces, bonds, bond_events, turns, keyed_calls")
                )
    except SQLAlchemyError as error:
        log.warning("what was erased is gone, but its pages could not be cleared now: %s", error)
