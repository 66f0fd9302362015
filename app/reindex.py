"""Give every row that waits for it vectors, terms and an emotion by the current recipe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import anyio
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.emotions.hear import hear, hear_lines, hear_memories, heard_texts, labelled
from app.errors import Unavailable
from app.lines.store import line_terms
from app.memory.felt import feel_unfelt
from app.memory.formation import memory_terms
from app.memory.store import lock_bonds
from app.services import Services
from app.tables import Line, Memory
from retrieval.context import in_context

log = logging.getLogger("moodline")
BATCH = 64
POLL_SECONDS = 60.0

Progress = Callable[[int], None]
Row = TypeVar("Row", Line, Memory)


async def count_waiting(services: Services) -> int:
    """Rows that are not indexed by the current recipe, or whose emotion something else has heard."""
    async with services.db.read() as db:
        return await _count(services, db, Line) + await _count(services, db, Memory)


async def embed_waiting(services: Services, progress: Progress = lambda _done: None) -> int:
    """Embed or hear what waits, a batch a transaction; returns how many rows. Safe to stop and to run twice at once."""
    done = 0
    for step in (_embed_lines, _embed_memories, hear_lines, hear_memories):
        while embedded := await step(services):
            done += embedded
            progress(embedded)
    return done


async def keep_embedded(services: Services) -> None:
    """Embed whenever rows arrive, for as long as the server runs."""
    while True:
        services.wake.clear()
        try:
            await embed_waiting(services)
        except Unavailable:
            log.debug("the encoder is not loaded yet; rows wait")
        except Exception:
            log.exception("embedding in the background failed; it is tried again in %d s", POLL_SECONDS)
        # The poll finds rows that another process, or one that died, has left.
        with anyio.move_on_after(POLL_SECONDS):
            await services.wake.wait()


async def _embed_lines(services: Services) -> int:
    recipe, tagger = services.recipe, services.tagger
    async with services.db.read() as db:
        rows = list(await db.scalars(_waiting(Line, recipe)))
    if not rows:
        return 0
    vectors = await services.embedding.passages([row.key for row in rows])
    answers = [row.answer for row in rows]
    heard = await hear(services, answers, await services.embedding.passages(answers))
    async with services.db.write() as db:
        for row, vector, emotion in zip(rows, vectors, heard, strict=True):
            await db.execute(
                update(Line)
                .where(Line.id == row.id, Line.key == row.key)
                .values(
                    vector=vector,
                    emotion=labelled(emotion, row.label),
                    tagger=tagger,
                    terms=line_terms(row.key, row.answer),
                    encoder=recipe,
                )
            )
    return len(rows)


async def _embed_memories(services: Services) -> int:
    recipe, tagger = services.recipe, services.tagger
    async with services.db.read() as db:
        rows = list(await db.scalars(_waiting(Memory, recipe)))
        earlier = [row.previous_id for row in rows if row.previous_id]
        found = await db.execute(select(Memory.id, Memory.text).where(Memory.id.in_(earlier)))
        before = {row.id: row.text for row in found}
        heard = await heard_texts(db, rows)
    if not rows:
        return 0
    texts = [row.text for row in rows]
    vectors = await services.embedding.passages(texts)
    told = [in_context(row.text, before.get(row.previous_id or 0, ""), row.created_at) for row in rows]
    contexts = await services.embedding.passages(told)
    emotions = await hear(services, heard, await services.embedding.passages(heard))
    await feel_unfelt(services, rows)
    async with services.db.write() as db:
        await lock_bonds(db, rows)
        for row, vector, context, emotion in zip(rows, vectors, contexts, emotions, strict=True):
            # An edit since we read it, of it or of what was said before it, has marked it; then this is out of date.
            await db.execute(
                update(Memory)
                .where(Memory.id == row.id, Memory.text == row.text, Memory.encoder == row.encoder)
                .values(
                    vector=vector,
                    context=context,
                    emotion=emotion,
                    tagger=tagger,
                    terms=memory_terms(row.text, row.created_at),
                    encoder=recipe,
                )
            )
    return len(rows)


def _waiting(table: type[Row], recipe: str) -> Select[Row]:
    return select(table).where(table.encoder.is_distinct_from(recipe)).order_by(table.id).limit(BATCH)


async def _count(services: Services, db: AsyncSession, table: type[Line] | type[Memory]) -> int:
    stale = or_(table.encoder.is_distinct_from(services.recipe), table.tagger.is_distinct_from(services.tagger))
    return await db.scalar(select(func.count()).select_from(table).where(stale)) or 0
