"""Bring a cached bank up to date with its rows, on read: the only place where SQL and the search meet."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
from anyio.to_thread import run_sync
from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables import Line, Memory
from retrieval.bank import Bank, Records
from retrieval.cache import Append, BankCache, Entry, Fresh, Rebuild, Stamp
from retrieval.emotion import EMOTIONS

CHUNK = 500
"""Ids in one query; databases limit the parameters of a statement."""

Condition = ColumnElement[bool]
Rows = Sequence[Row[Any]]
Table = type[Line] | type[Memory]


async def catch_up(
    db: AsyncSession,
    cache: BankCache,
    key: Hashable,
    stamp: Stamp,
    table: Table,
    mine: Sequence[Condition],
    dimension: int,
) -> Bank:
    """The bank of the rows that fulfil `mine`: nothing is read when the stamp says that nothing is new."""
    while True:
        plan = cache.plan(key, stamp)
        if isinstance(plan, Fresh):
            return plan.entry.bank
        rows = await (_missing(db, table, mine, plan.known) if isinstance(plan, Append) else _all(db, table, mine))
        entry = await run_sync(partial(_apply, cache, key, stamp, rows, table, dimension, plan))
        if entry is not None:
            return entry.bank


def _apply(
    cache: BankCache, key: Hashable, stamp: Stamp, rows: Rows, table: Table, dimension: int, plan: Append | Rebuild
) -> Entry | None:
    records = _records(rows, dimension, with_context=table is Memory)
    return cache.apply(key, stamp, records, rebuild=isinstance(plan, Rebuild))


async def _all(db: AsyncSession, table: Table, mine: Sequence[Condition]) -> Rows:
    return (await db.execute(select(*_columns(table)).where(*mine, table.terms.is_not(None)))).all()


async def _missing(db: AsyncSession, table: Table, mine: Sequence[Condition], known: frozenset[int]) -> Rows:
    ids = [row_id for row_id in await db.scalars(select(table.id).where(*mine)) if row_id not in known]
    rows: list[Row[Any]] = []
    for begin in range(0, len(ids), CHUNK):
        rows += await _all(db, table, [*mine, table.id.in_(ids[begin : begin + CHUNK])])
    return rows


def _columns(table: Table) -> Sequence[Any]:
    columns: list[Any] = [table.id, table.vector, table.emotion, table.terms]
    return [*columns, Memory.context, Memory.previous_id] if table is Memory else columns


def _records(rows: Rows, dimension: int, *, with_context: bool) -> Records:
    """Rows as columns. A memory's context is never missing where its recipe is the current one."""
    return Records(
        ids=[row.id for row in rows],
        vectors=_stacked([row.vector for row in rows], dimension),
        emotions=_stacked([row.emotion for row in rows], len(EMOTIONS)),
        terms=[row.terms for row in rows],
        contexts=_stacked([row.context for row in rows], dimension) if with_context else None,
        previous=[row.previous_id or 0 for row in rows] if with_context else None,
    )


def _stacked(vectors: list[Any], width: int) -> Any:
    return np.stack(vectors) if vectors else np.zeros((0, width), np.float32)
