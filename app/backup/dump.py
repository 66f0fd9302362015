"""Write a backup: one snapshot of every table, while the server goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import LargeBinary, Table, func, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from app.backup.archive import Archive, Manifest, writing
from app.backup.values import kind_of, written
from app.db import Database
from app.tables import Base
from app.version import VERSION

BATCH = 500

Progress = Callable[[str, int, int], None]
"""Told the table, how many more of its rows are written, and how many rows there are in all."""


async def dump(db: Database, path: Path, progress: Progress) -> Manifest:
    """Back a database up into `path`, which appears when it is whole.

    All of it is read in one transaction that sees one moment; nobody waits for it. Meanwhile SQLite's log can't be
    shortened.
    """
    with writing(path) as archive:
        async with db.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            total = await _count(connection)
            for table in Base.metadata.sorted_tables:
                await _dump_table(connection, table, archive, lambda table, more: progress(table, more, total))
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            return archive.finish(
                revision=revision,
                made_by=VERSION,
                database=connection.dialect.name,
                created_at=datetime.now(UTC).isoformat(),
            )


async def _count(connection: AsyncConnection) -> int:
    counts = [await connection.scalar(select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables]
    return sum(count or 0 for count in counts)


async def _dump_table(
    connection: AsyncConnection, table: Table, archive: Archive, progress: Callable[[str, int], None]
) -> None:
    kinds = {column.name: kind_of(column.type) for column in table.columns}
    # Vectors as bytes: one that is damaged must not keep a backup from being made.
    columns = [
        type_coerce(column, LargeBinary).label(column.name) if kinds[column.name] == "bytes" else column
        for column in table.columns
    ]
    query = select(*columns).order_by(*table.primary_key.columns).execution_options(yield_per=BATCH)
    with archive.table(table.name, kinds) as rows:
        result = await connection.stream(query)
        async for batch in result.mappings().partitions():
            for row in batch:
                rows.add(written(dict(row), kinds))
            progress(table.name, len(batch))
