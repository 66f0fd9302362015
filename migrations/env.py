"""Alembic's entry: applies the revisions over an async engine. Imports the tables and nothing else of the app."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.tables import Base

SECONDS_TO_WAIT = 60
"""For another process that migrates the same SQLite file."""


def _url() -> str:
    """The URL given by the program, else `MOODLINE_DATABASE_URL`, with an async driver put in."""
    url = make_url(context.config.attributes.get("url") or os.environ["MOODLINE_DATABASE_URL"])
    driver = "sqlite+aiosqlite" if url.get_backend_name() == "sqlite" else "postgresql+psycopg"
    return url.set(drivername=driver).render_as_string(hide_password=False)


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


def _engine() -> AsyncEngine:
    if not _url().startswith("sqlite"):
        return create_async_engine(_url(), poolclass=NullPool)
    engine = create_async_engine(_url(), poolclass=NullPool, connect_args={"timeout": SECONDS_TO_WAIT})
    # The driver itself would begin no transaction for DDL: a revision that breaks off would stay half done.
    event.listen(engine.sync_engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


async def _run() -> None:
    engine = _engine()
    async with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # Several processes may start at once; the lock goes with the connection. SQLite locks by BEGIN IMMEDIATE.
            await connection.execute(text("SELECT pg_advisory_lock(hashtext('moodline migrations'))"))
            await connection.commit()
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_run())
