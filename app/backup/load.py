"""Read a backup into a database: everything in one transaction, the schema and its migrations too, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, MetaData, Table, func, inspect, null, select, text, update

from app.backup.archive import Reader
from app.backup.values import Kinds, read
from app.db import schema_engine
from app.errors import Conflict, Unprocessable
from app.migrate import LOCK, configure
from app.tables import HIGHEST_FIRST_REVISION, Base, Bond, Character, new_revision

BATCH = 500

Progress = Callable[[Literal["verify", "restore"], int], None]
"""Told how many more rows are verified or restored."""


async def load(url: str, path: Path, *, replace: bool, progress: Progress) -> int:
    """Restore a backup and return how many rows it had.

    It is verified before anything is written. An older backup is migrated. With `replace` what the database holds now
    goes in the same transaction; a server that runs meanwhile goes on with the restored rows.

    Raises:
        Unprocessable: the file is no backup, is damaged, or needs a newer Moodline.
        Conflict: the database is not empty.
    """
    with Reader(path) as backup:
        config = configure(url)
        _know(ScriptDirectory.from_config(config), backup)
        for rows in backup.verify():
            progress("verify", rows)
        engine = schema_engine(url)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_load, config, backup, replace, lambda more: progress("restore", more))
        finally:
            await engine.dispose()
        return backup.manifest.rows


def _know(scripts: ScriptDirectory, backup: Reader) -> None:
    manifest = backup.manifest
    try:
        scripts.get_revision(manifest.revision)
    except CommandError:
        raise Unprocessable(
            f"{backup.path} was made by Moodline {manifest.made_by}, whose tables (revision {manifest.revision}) are "
            "newer than this one's. Restore it with that version or a later one."
        ) from None


def _load(
    connection: Connection, config: Config, backup: Reader, replace: bool, progress: Callable[[int], None]
) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    present = _present(connection)
    if not replace and any(
        connection.scalar(select(func.count()).select_from(table)) for table in present.sorted_tables
    ):
        raise Conflict("The database is not empty. Give --replace to put the backup in the place of all that is there.")
    present.drop_all(connection)
    connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    config.attributes["connection"] = connection
    command.upgrade(config, backup.manifest.revision)
    _fill(connection, backup, progress)
    command.upgrade(config, "head")
    if replace:
        _outdate_banks(connection)


def _present(connection: Connection) -> MetaData:
    """Our tables as they are in this database; others are none of our business."""
    ours = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
    present = MetaData()
    present.reflect(connection, only=sorted(ours))
    return present


def _outdate_banks(connection: Connection) -> None:
    """Servers that run on hold banks of rows that were replaced; ids and revisions may be the same."""
    by = 1 + new_revision()
    for table, column in ((Character, Character.lines_revision), (Bond, Bond.memory_revision)):
        connection.execute(update(table).values({column: (column + by) % HIGHEST_FIRST_REVISION}))


def _fill(connection: Connection, backup: Reader, progress: Callable[[int], None]) -> None:
    tables = _present(connection)
    _check_keys_later(connection, tables, "DEFERRABLE INITIALLY DEFERRED")
    for name, member in backup.manifest.tables.items():
        table = tables.tables.get(name)
        if table is None or set(member.columns) != set(table.columns.keys()):
            raise Unprocessable(
                f"{backup.path} has a table {name!r} that revision {backup.manifest.revision} doesn't know."
            )
        for rows in _batches(backup, name, member.columns):
            connection.execute(table.insert(), rows)
            progress(len(rows))
        _continue_numbers(connection, table)
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    _check_keys_later(connection, tables, "NOT DEFERRABLE")


def _batches(backup: Reader, name: str, kinds: Kinds) -> Iterator[list[Mapping[str, Any]]]:
    lines = backup.lines(name)
    while lines_now := list(islice(lines, BATCH)):
        try:
            rows = [read(line, kinds) for line in lines_now]
        except ValueError as error:
            raise Unprocessable(f"A row of {name!r} in {backup.path} can't be read: {error}") from None
        yield [{key: _bound(value, kinds[key]) for key, value in row.items()} for row in rows]


def _bound(value: Any, kind: str) -> Any:
    # A JSON column would write None as JSON's null.
    return null() if value is None and kind == "json" else value


def _check_keys_later(connection: Connection, tables: MetaData, when: str) -> None:
    """A message may be read before the one it answers. SQLite checks nothing here (`schema_engine`)."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.sorted_tables:
        for constraint in table.foreign_key_constraints:
            connection.execute(text(f'ALTER TABLE "{table.name}" ALTER CONSTRAINT "{constraint.name}" {when}'))


def _continue_numbers(connection: Connection, table: Table) -> None:
    """PostgreSQL goes on counting behind the highest number; SQLite always does."""
    column = table.autoincrement_column
    if connection.dialect.name != "postgresql" or column is None:
        return
    highest = f'(SELECT max("{column.name}") FROM "{table.name}")'  # noqa: S608
    sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
    connection.execute(text(f"SELECT setval({sequence}, coalesce({highest}, 1), {highest} IS NOT NULL)"))
