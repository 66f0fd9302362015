"""Vectors, feelings and words of lines and memories. What is wrong waits to be indexed anew; the texts have it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import LargeBinary, func, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.check.run import AnyRow, Check
from app.db import Database
from app.memory.store import outdated
from app.tables import Bond, Character, Line, Memory
from retrieval.emotion import EMOTIONS

LENGTH_TOLERANCE = 1e-2
FLOAT = 4
"""Bytes of a float32, and of a hashed term."""

Widths = Mapping[str, int]
"""Bytes of a vector by recipe."""


async def vectors(db: Database) -> list[Check]:
    """The rules of what is searched. How wide a recipe's vectors are is told by most of its rows."""
    widths = await _widths(db)
    lines = select(Line.id.label("key"), Line.character_id, Line.encoder, *_bytes(Line, "vector", "emotion", "terms"))
    memories = select(
        *(Memory.id.label("key"), Memory.owner, Memory.user, Memory.character_id, Memory.encoder),
        *_bytes(Memory, "vector", "context", "emotion", "terms"),
    )
    line_fault, memory_fault = partial(_fault, ("vector",), widths), partial(_fault, ("vector", "context"), widths)
    return [
        Check("lines with wrong vectors", lines, Line.id, line_fault, _mend_line),
        Check("memories with wrong vectors", memories, Memory.id, memory_fault, partial(_mend_memory, widths)),
    ]


async def recipes(db: Database) -> dict[str, int]:
    """How many lines and memories are indexed by each recipe; those that wait are counted under "waiting"."""
    counts: Counter[str] = Counter()
    async with db.read() as session:
        for table in (Line, Memory):
            for recipe, count in await session.execute(select(table.encoder, func.count()).group_by(table.encoder)):
                counts[recipe if recipe and _done(recipe) else "waiting"] += count
    return dict(counts)


def _done(recipe: str | None) -> bool:
    return recipe is not None and not recipe.startswith("outdated ")


async def _widths(db: Database) -> Widths:
    seen: Counter[tuple[str, int]] = Counter()
    async with db.read() as session:
        for table in (Line, Memory):
            width = func.length(type_coerce(table.vector, LargeBinary))
            query = select(table.encoder, width, func.count()).where(table.encoder.is_not(None))
            for recipe, found, count in await session.execute(query.group_by(table.encoder, width)):
                if recipe and found and found % FLOAT == 0 and _done(recipe):
                    seen[recipe, found] += count
    return {recipe: width for (recipe, width), _count in reversed(seen.most_common())}


def _bytes(table: Any, *names: str) -> Iterator[Any]:
    for name in names:
        yield type_coerce(getattr(table, name), LargeBinary).label(name)


def _fault(vectors: tuple[str, ...], widths: Widths, row: AnyRow) -> str:
    """Rows that wait are searched by nobody, but whoever indexes them must be able to read them."""
    values = row._mapping
    emotion = len(EMOTIONS) * FLOAT
    for name in (*vectors, "emotion", "terms"):
        value = values[name]
        if value is None:
            if _done(row.encoder):
                return f"{name} is missing"
            continue
        width = emotion if name == "emotion" else widths.get(row.encoder) if name in vectors else None
        if len(value) % FLOAT or (width is not None and len(value) != width):
            return f"{name} has {len(value)} bytes"
        if name != "terms" and (fault := _wrong_numbers(name, np.frombuffer(value, "<f4"), unit=name in vectors)):
            return fault if _done(row.encoder) else ""
    return ""


def _wrong_numbers(name: str, numbers: Any, *, unit: bool) -> str:
    if not np.isfinite(numbers).all():
        return f"{name} holds what is no number"
    length = float(np.linalg.norm(numbers))
    if unit and abs(length - 1) > LENGTH_TOLERANCE:
        return f"{name} has length {length:.3f}, not 1"
    return ""


async def _mend_line(db: AsyncSession, row: AnyRow) -> None:
    fresh = {"encoder": None, "vector": None, "emotion": None, "terms": None}
    await db.execute(update(Line).where(Line.id == row.key).values(fresh))
    raised = {"lines_revision": Character.lines_revision + 1}
    await db.execute(update(Character).where(Character.id == row.character_id).values(raised))


async def _mend_memory(widths: Widths, db: AsyncSession, row: AnyRow) -> None:
    """Zeros until it is indexed: the columns may not be empty, and nobody searches a row that waits."""
    mine = (Bond.owner == row.owner, Bond.user == row.user, Bond.character_id == row.character_id)
    await db.execute(update(Bond).where(*mine).values(memory_revision=Bond.memory_revision + 1))
    width = max(widths.values(), default=FLOAT) // FLOAT
    fresh = {
        "encoder": outdated(),
        "vector": np.zeros(width, np.float32),
        "context": None,
        "emotion": np.zeros(len(EMOTIONS), np.float32),
        "terms": None,
    }
    await db.execute(update(Memory).where(Memory.id == row.key).values(fresh))
