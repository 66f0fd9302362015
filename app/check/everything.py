"""All checks in their order: what later ones rely on comes first."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from app.check.characters import characters
from app.check.documents import documents
from app.check.references import references
from app.check.run import Check, Found, Progress, run
from app.check.standing import standing
from app.check.tree import tree
from app.check.vectors import vectors
from app.db import Database

FILE = "the file itself"


async def everything(
    db: Database, *, repair: bool = False, progress: Progress = lambda _name, _more: None
) -> dict[str, Found]:
    """What is wrong with a database, by check; with `repair`, what was put right."""
    damage = await _damage(db)
    if damage.count:
        # Rows of a damaged file can't be trusted; writing to it makes it worse.
        return {FILE: damage}
    checks: list[Check] = [*references(), *documents(), *characters(), *tree(), *standing(), *await vectors(db)]
    return await run(db, checks, repair=repair, progress=progress)


async def _damage(db: Database) -> Found:
    """What SQLite says of its file; PostgreSQL has tools of its own for that (`pg_amcheck`)."""
    if db.engine.dialect.name != "sqlite":
        return Found()
    try:
        async with db.read() as session:
            told = [str(line) for line in await session.scalars(text("PRAGMA integrity_check(10)"))]
    except DatabaseError as error:
        if isinstance(error, OperationalError):
            raise
        told = [str(error.orig)]
    faults = [line for line in told if line != "ok"]
    why = "restore a backup; `sqlite3 FILE .recover` reads what is left"
    return Found(
        count=len(faults), left=len(faults), first={str(number): line for number, line in enumerate(faults, 1)}, why=why
    )
