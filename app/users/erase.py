"""Forget a user: every row that is theirs, in steps, so that nobody waits; safe to break off and to repeat."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app import keyed
from app.bond.store import lock_bond
from app.chat import progress
from app.chat.resolve import in_scope
from app.db import Database
from app.services import Services
from app.sessions.removal import STEP, remove_some
from app.sessions.store import Scope
from app.tables import Bond, BondEvent, Lorebook, Memory, Persona, Session

log = logging.getLogger("moodline")

Remove = Callable[[AsyncSession, Scope], Awaitable[dict[str, int]]]
"""Takes away some rows of a user with a character; empty when nothing is left."""


async def erase(services: Services, owner: str, user: str) -> dict[str, int]:
    """Take away all that is kept of a user and return how many rows of each table.

    Turns go first: without its row nothing of a reply that is being spoken is stored, and it ends as failed. The bonds
    go last: as long as something is left, it can be found again. Banks in this process are dropped at once, other
    processes drop theirs within a minute (`retention`).
    """
    removed: Counter[str] = Counter()
    async with services.db.write(done=False) as session:
        removed["turns"] += await progress.forget(session, owner, user)
    async with services.db.read() as session:
        scopes = await _met(session, owner, user)
    for scope in scopes:
        # In steps, so that nobody waits; most of it.
        for remove in (_some_of_a_session, _some_memories):
            while gone := await _step(services.db, scope, remove):
                removed.update(gone)
    async with services.db.write() as session:
        gone, scopes = await _remove_the_rest(session, owner, user)
    removed.update(gone)
    for scope in scopes:
        services.memories.discard(scope)
    await _leave_no_log(services.db)
    return {table: count for table, count in removed.items() if count}


async def _step(db: Database, scope: Scope, remove: Remove) -> dict[str, int]:
    async with db.write(done=False) as session:
        await lock_bond(session, scope)
        return await remove(session, scope)


async def _remove_the_rest(db: AsyncSession, owner: str, user: str) -> tuple[Counter[str], list[Scope]]:
    """What came meanwhile, and what all of it hung on, in one transaction: nobody can store anything in between.

    The order of its locks is everybody's, see `progress.begin`. A turn that was stored while its row was waited for is
    found by the second look.
    """
    removed: Counter[str] = Counter()
    for scope in await _met(db, owner, user):
        await lock_bond(db, scope)
    removed["turns"] += await progress.forget(db, owner, user)
    scopes = await _met(db, owner, user)
    for scope in scopes:
        for remove in (_some_of_a_session, _some_memories):
            while gone := await remove(db, scope):
                removed.update(gone)
    for table in (BondEvent, Persona, Bond, Lorebook):
        rows = await db.execute(delete(table).where(table.owner == owner, table.user == user))
        removed[table.__tablename__] += rows.rowcount  # type: ignore[attr-defined]
    removed["keyed_calls"] += await keyed.forget(db, owner)
    return removed, scopes


async def _met(db: AsyncSession, owner: str, user: str) -> list[Scope]:
    """Everything between this user and a character, by whom it is with; in the order in which bonds are locked."""
    found: set[str] = set()
    for table in (Bond, Session, Memory):
        query = select(table.character_id).where(table.owner == owner, table.user == user).distinct()
        found.update(await db.scalars(query))
    return [Scope(owner, user, character_id) for character_id in sorted(found)]


async def _some_of_a_session(db: AsyncSession, scope: Scope) -> dict[str, int]:
    mine = (Session.owner == scope.owner, Session.user == scope.user, Session.character_id == scope.character_id)
    found = await db.scalar(select(Session.id).where(*mine).limit(1))
    return await remove_some(db, found) if found else {}


async def _some_memories(db: AsyncSession, scope: Scope) -> dict[str, int]:
    # The newest first: none of them is pointed at by one that stays.
    newest = select(Memory.id).where(*in_scope(scope)).order_by(Memory.id.desc()).limit(STEP)
    ids = list(await db.scalars(newest))
    await db.execute(delete(Memory).where(Memory.id.in_(ids)))
    mine = (Bond.owner == scope.owner, Bond.user == scope.user, Bond.character_id == scope.character_id)
    await db.execute(update(Bond).where(*mine).values(memory_revision=Bond.memory_revision + 1))
    return {"memories": len(ids)} if ids else {}


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
                    text(
                        "VACUUM messages, memories, sessions, traces, bonds, bond_events, turns, keyed_calls, "
                        "lorebooks, lorebook_entries"
                    )
                )
    except SQLAlchemyError as error:
        log.warning("what was erased is gone, but its pages could not be cleared now: %s", error)
