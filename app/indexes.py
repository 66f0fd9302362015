"""Bring a cached index up to date with its rows, on read: the only place where SQL and FAISS meet."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np
from anyio.to_thread import run_sync
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables import Floats, Line, Memory
from retrieval.cache import Append, Fresh, IndexCache, Stamp
from retrieval.index import Index

CHUNK = 500
"""Ids in one query; databases limit the parameters of a statement."""

Condition = ColumnElement[bool]
Rows = list[tuple[int, Floats]]


async def catch_up(
    db: AsyncSession,
    cache: IndexCache,
    key: Hashable,
    stamp: Stamp,
    table: type[Line] | type[Memory],
    mine: Sequence[Condition],
    dimension: int,
) -> Index:
    """The index of the rows that fulfil `mine`: nothing is read when the stamp says that nothing is new."""
    while True:
        plan = cache.plan(key, stamp)
        if isinstance(plan, Fresh):
            return plan.entry.index
        added = isinstance(plan, Append)
        rows = await (_missing(db, table, mine, plan.known) if isinstance(plan, Append) else _all(db, table, mine))
        ids = [row_id for row_id, _ in rows]
        vectors = np.stack([vector for _, vector in rows]) if rows else np.zeros((0, dimension), np.float32)
        entry = await run_sync(partial(cache.apply, key, stamp, ids, vectors, rebuild=not added))
        if entry is not None:
            return entry.index


async def _all(db: AsyncSession, table: type[Line] | type[Memory], mine: Sequence[Condition]) -> Rows:
    found = await db.execute(select(table.id, table.vector).where(*mine))
    return [(row_id, vector) for row_id, vector in found if vector is not None]


async def _missing(
    db: AsyncSession, table: type[Line] | type[Memory], mine: Sequence[Condition], known: frozenset[int]
) -> Rows:
    ids = [row_id for row_id in await db.scalars(select(table.id).where(*mine)) if row_id not in known]
    rows: Rows = []
    for begin in range(0, len(ids), CHUNK):
        query = select(table.id, table.vector).where(*mine, table.id.in_(ids[begin : begin + CHUNK]))
        rows += [(row_id, vector) for row_id, vector in await db.execute(query) if vector is not None]
    return rows
