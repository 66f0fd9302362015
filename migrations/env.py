"""Alembic's entry: applies the revisions over an async engine. Of the app it imports the tables and how to connect."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, make_url, text

from app.db import schema_engine
from app.migrate import LOCK
from app.tables import Base


def _url() -> str:
    """The URL given by the program, else `MOODLINE_DATABASE_URL`, with an async driver put in."""
    url = make_url(context.config.attributes.get("url") or os.environ["MOODLINE_DATABASE_URL"])
    driver = "sqlite+aiosqlite" if url.get_backend_name() == "sqlite" else "postgresql+psycopg"
    return url.set(drivername=driver).render_as_string(hide_password=False)


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        # Alembic thinks that SQLite has none and would commit after every revision: then another process that migrates
        # gets in between and applies the next one twice.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run() -> None:
    engine = schema_engine(_url())
    async with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # Several processes may start at once; the lock goes with the connection. SQLite locks by BEGIN IMMEDIATE.
            await connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
            await connection.commit()
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


if (given := context.config.attributes.get("connection")) is not None:
    _migrate(given)
else:
    asyncio.run(_run())
