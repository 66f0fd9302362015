"""The database: one pool, two kinds of transaction.

`read()` and `write()` are short. None is held while a language model speaks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

Mark = Callable[[AsyncSession], Awaitable[None]]
ON_BEHALF_OF: ContextVar[Mark | None] = ContextVar("moodline_on_behalf_of", default=None)
"""What marks the call on whose behalf something is written as done, in the transaction that does it."""
SQLITE_BUSY_SECONDS = 30
SECONDS_TO_MIGRATE = 60
"""For another process that migrates the same SQLite file."""


class Database:
    """An async SQLAlchemy engine for SQLite (WAL) or PostgreSQL, with `pool` connections."""

    def __init__(self, url: str, pool: int) -> None:
        self.url = url
        self.engine = _engine(url, pool)
        self._writing = self.engine.execution_options(moodline_write=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that only reads."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self, *, done: bool = True) -> AsyncIterator[AsyncSession]:
        """A session whose changes commit together when the block ends, or not at all.

        Then the call on whose behalf they are made (`ON_BEHALF_OF`) is `done`, unless more is to come.
        """
        async with AsyncSession(self._writing, expire_on_commit=False) as session, session.begin():
            yield session
            if done and (mark := ON_BEHALF_OF.get()):
                await mark(session)

    async def check(self) -> None:
        """Raise SQLAlchemy's `OperationalError` unless the database answers."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()


def prepare_folder(url: str) -> None:
    """Make the folder of an SQLite file."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)


def schema_engine(url: str) -> AsyncEngine:
    """An engine for changes of the schema: its transactions hold DDL too, and SQLite minds no foreign keys in them."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_async_engine(url, poolclass=NullPool)
    prepare_folder(url)
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": SECONDS_TO_MIGRATE})
    event.listen(engine.sync_engine, "connect", _configure_for_schema)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _engine(url: str, pool: int) -> AsyncEngine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_size=pool, max_overflow=0, pool_pre_ping=True, pool_timeout=30)
    prepare_folder(url)
    engine = create_async_engine(
        url, pool_size=pool, max_overflow=0, pool_timeout=30, connect_args={"timeout": SQLITE_BUSY_SECONDS}
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # We emit BEGIN ourselves: the driver's implicit one is deferred, so two writers that read first would deadlock.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: what a client was told is kept survives a power cut too, for less than a millisecond a turn.
    # What is deleted is overwritten: a person who asks to be forgotten must not stay in the file's free pages.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _configure_for_schema(connection: Any, _record: Any) -> None:
    # The driver itself would begin no transaction for DDL: a revision that breaks off would stay half done.
    connection.isolation_level = None
    connection.execute("PRAGMA secure_delete=ON").close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("moodline_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
