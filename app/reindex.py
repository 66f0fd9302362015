"""Give every row that waits for it vectors, terms and an emotion by the current recipe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio
import numpy as np
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.emotions.by_model import ask_model
from app.errors import Unavailable
from app.lines.store import line_terms
from app.memory.felt import feel_unfelt
from app.memory.formation import holds, memory_terms
from app.services import Services
from app.sessions.store import original
from app.tables import Floats, Line, Memory, Message
from models.engine import EngineError
from retrieval.context import in_context
from retrieval.emotion import EMOTIONS

log = logging.getLogger("moodline")
BATCH = 64
LABEL_WEIGHT = 0.8
"""How much a person's label counts against what the tagger hears in the answer."""
POLL_SECONDS = 60.0

Progress = Callable[[int], None]
Row = TypeVar("Row", Line, Memory)


async def count_waiting(services: Services) -> int:
    """Rows that are not indexed by the current recipe."""
    recipe = services.recipe
    async with services.db.read() as db:
        return await _count(db, Line, recipe) + await _count(db, Memory, recipe)


async def embed_waiting(services: Services, progress: Progress = lambda _done: None) -> int:
    """Embed what waits, a batch a transaction; returns how many rows. Safe to stop and to run twice at once."""
    done = 0
    for step in (_embed_lines, _embed_memories):
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
    recipe = services.recipe
    async with services.db.read() as db:
        rows = list(await db.scalars(_waiting(Line, recipe)))
    if not rows:
        return 0
    vectors = await services.embedding.passages([row.key for row in rows])
    answers = [row.answer for row in rows]
    heard = await _hear(services, answers, await services.embedding.passages(answers))
    async with services.db.write() as db:
        for row, vector, emotion in zip(rows, vectors, heard, strict=True):
            await db.execute(
                update(Line)
                .where(Line.id == row.id, Line.key == row.key)
                .values(
                    vector=vector,
                    emotion=_labelled(emotion, row.label),
                    terms=line_terms(row.key, row.answer),
                    encoder=recipe,
                )
            )
    return len(rows)


async def _embed_memories(services: Services) -> int:
    recipe = services.recipe
    async with services.db.read() as db:
        rows = list(await db.scalars(_waiting(Memory, recipe)))
        earlier = [row.previous_id for row in rows if row.previous_id]
        found = await db.execute(select(Memory.id, Memory.text).where(Memory.id.in_(earlier)))
        before = {row.id: row.text for row in found}
        heard = await _heard(db, rows)
    if not rows:
        return 0
    texts = [row.text for row in rows]
    vectors = await services.embedding.passages(texts)
    told = [in_context(row.text, before.get(row.previous_id or 0, ""), row.created_at) for row in rows]
    contexts = await services.embedding.passages(told)
    emotions = await _hear(services, heard, await services.embedding.passages(heard))
    await feel_unfelt(services, rows)
    async with services.db.write() as db:
        for row, vector, context, emotion in zip(rows, vectors, contexts, emotions, strict=True):
            # An edit since we read it, of it or of what was said before it, has marked it; then this is out of date.
            await db.execute(
                update(Memory)
                .where(Memory.id == row.id, Memory.text == row.text, Memory.encoder == row.encoder)
                .values(
                    vector=vector,
                    context=context,
                    emotion=emotion,
                    terms=memory_terms(row.text, row.created_at),
                    encoder=recipe,
                )
            )
    return len(rows)


async def _heard(db: AsyncSession, rows: Sequence[Memory]) -> list[str]:
    """What each memory's emotion is that of: as in a turn, of what the user said; of all that an edited one says."""
    asked = [row.message_id for row in rows if row.message_id]
    found = select(Message).where(or_(Message.id.in_(asked), Message.origin_id.in_(asked)))
    said = {original(row): row.text for row in await db.scalars(found)}
    texts = [(row.text, said.get(row.message_id or "")) for row in rows]
    return [said if said and holds(text, said) else text for text, said in texts]


async def _hear(services: Services, texts: list[str], vectors: Floats) -> Floats:
    """Emotions float32 [n, 8], by what the settings name; a language model that can't answer is done without."""
    if services.settings.emotion == "model":
        try:
            return await ask_model(services.engine, texts)
        except EngineError as error:
            log.warning("the language model could not be asked for emotions: %s", error)
    return await services.embedding.feel(texts, vectors)


def _waiting(table: type[Row], recipe: str) -> Select[Row]:
    return select(table).where(or_(table.encoder.is_(None), table.encoder != recipe)).order_by(table.id).limit(BATCH)


async def _count(db: AsyncSession, table: type[Line] | type[Memory], recipe: str) -> int:
    query = select(func.count()).select_from(table).where(or_(table.encoder.is_(None), table.encoder != recipe))
    return await db.scalar(query) or 0


def _labelled(heard: Floats, label: str | None) -> Floats:
    if label is None:
        return heard
    told = np.zeros(len(EMOTIONS), np.float32)
    told[EMOTIONS.index(label)] = 1.0
    return (LABEL_WEIGHT * told + (1 - LABEL_WEIGHT) * heard).astype(np.float32)
