"""Go through the checks, page by page; with `repair`, put right what is found.

Every page is one statement, so what it sees is of one moment and the server may write meanwhile. A repair is a short
transaction of its own that looks again before it changes anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.db import Database

PAGE = 500
FIRST = 10
"""Ids that are told of each check."""
PASSES = 4
"""A repair may bring to light what was hidden; after so many passes what is left is told."""

Query = Select[*tuple[Any, ...]]
AnyRow = Row[*tuple[Any, ...]]
Key = ColumnElement[Any] | InstrumentedAttribute[Any]
Progress = Callable[[str, int], None]
"""Told the check and how many more rows it has looked at."""


@dataclass(frozen=True)
class Check:
    """One rule. `query` selects rows with `key` labelled "key"; `fault` says what is wrong with one, or "".

    `mend` puts a faulty row right in the transaction it is given; None where a person has to decide. Where a row can't
    be judged by itself, `deeper` reads on, in a transaction in which it may lock rows and must change nothing.
    """

    name: str
    query: Query
    key: Key
    fault: Callable[[AnyRow], str] = lambda _row: ""
    mend: Callable[[AsyncSession, AnyRow], Awaitable[None]] | None = None
    deeper: Callable[[AsyncSession, AnyRow], Awaitable[str]] | None = None


@dataclass
class Found:
    """What a check has found: how many rows, the ids of the first and what is wrong with them, and how many are left.

    `left` equals `count` unless it was repaired; `why` tells why something could not be.
    """

    count: int = 0
    left: int = 0
    first: dict[str, str] = field(default_factory=dict)
    why: str = ""


async def run(
    db: Database, checks: Iterable[Check], *, repair: bool = False, progress: Progress = lambda _name, _more: None
) -> dict[str, Found]:
    """What is wrong, by the names of the checks; those that found nothing are left out."""
    checks = list(checks)
    total = await _pass(db, checks, repair=repair, progress=progress)
    if not repair or not total:
        return total
    for number in range(1, PASSES):
        now = await _pass(db, checks, repair=number < PASSES - 1, progress=progress)
        for name in {**total, **now}:
            found = now.get(name, Found())
            total.setdefault(name, found)
            total[name].left = found.count
            total[name].why = (found.why or total[name].why) if found.count else ""
        if not now:
            break
    return total


async def _pass(db: Database, checks: list[Check], *, repair: bool, progress: Progress) -> dict[str, Found]:
    total = {}
    for check in checks:
        found = await _go_through(db, check, repair=repair, progress=progress)
        if found.count:
            total[check.name] = found
    return total


async def _go_through(db: Database, check: Check, *, repair: bool, progress: Progress) -> Found:
    found = Found()
    progress(check.name, 0)
    after: Any = None
    while True:
        query = check.query if after is None else check.query.where(check.key > after)
        async with db.read() as session:
            rows = (await session.execute(query.order_by(check.key).limit(PAGE))).all()
        for row in rows:
            if fault := await _judge(db, check, row):
                found.count += 1
                found.left += 1
                if len(found.first) < FIRST:
                    found.first[str(row.key)] = fault
                if repair and check.mend is not None:
                    await _mend(db, check, row.key, found)
        progress(check.name, len(rows))
        if len(rows) < PAGE:
            return found
        after = rows[-1].key


async def _judge(db: Database, check: Check, row: AnyRow) -> str:
    if check.deeper is None:
        return check.fault(row)
    async with db.write() as session:
        return await check.deeper(session, row)


async def _mend(db: Database, check: Check, key: Any, found: Found) -> None:
    assert check.mend is not None
    try:
        async with db.write() as session:
            row = (await session.execute(check.query.where(check.key == key))).first()
            wrong = row is not None and (check.fault(row) or (check.deeper and await check.deeper(session, row)))
            if row is not None and wrong:
                await check.mend(session, row)
    except SQLAlchemyError as error:
        found.why = f"{key}: {getattr(error, 'orig', None) or error}"
