"""Give every row that waits for it a vector and an emotion by the current encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import anyio
import numpy as np
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.emotions.by_model import ask_model
from app.errors import Unavailable
from app.services import Services
from app.tables import Floats, Line, Memory
from models.engine import EngineError
from retrieval.emotion import EMOTIONS

log = logging.getLogger("moodline")
BATCH = 64
LABEL_WEIGHT = 0.8
"""How much a person's label counts against what the tagger hears in the answer."""
POLL_SECONDS = 60.0

Progress = Callable[[int], None]
Row = TypeVar("Row", Line, Memory)


async def count_waiting(services: Services) -> int:
    """Rows that have no vector of the current encoder."""
    encoder = services.embedding.encoder.id
    async with services.db.read() as db:
        return await _count(db, Line, encoder) + await _count(db, Memory, encoder)


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
    encoder = services.embedding.encoder.id
    async with services.db.read() as db:
        rows = list(await db.scalars(_waiting(Line, encoder)))
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
                .values(vector=vector, emotion=_labelled(emotion, row.label), encoder=encoder)
            )
    return len(rows)


async def _embed_memories(services: Services) -> int:
    encoder = services.embedding.encoder.id
    async with services.db.read() as db:
        rows = list(await db.scalars(_waiting(Memory, encoder)))
    if not rows:
        return 0
    texts = [row.text for row in rows]
    vectors = await services.embedding.passages(texts)
    emotions = await _hear(services, texts, vectors)
    async with services.db.write() as db:
        for row, vector, emotion in zip(rows, vectors, emotions, strict=True):
            # An edit since we read it has its own vector; the condition keeps this one from overwriting it.
            await db.execute(
                update(Memory)
                .where(Memory.id == row.id, Memory.text == row.text)
                .values(vector=vector, emotion=emotion, encoder=encoder)
            )
    return len(rows)


async def _hear(services: Services, texts: list[str], vectors: Floats) -> Floats:
    """Emotions float32 [n, 8], by what the settings name; a language model that can't answer is done without."""
    if services.settings.emotion == "model":
        try:
            return await ask_model(services.engine, texts)
        except EngineError as error:
            log.warning("the language model could not be asked for emotions: %s", error)
    return await services.embedding.feel(texts, vectors)


def _waiting(table: type[Row], encoder: str) -> Select[Row]:
    return select(table).where(or_(table.encoder.is_(None), table.encoder != encoder)).order_by(table.id).limit(BATCH)


async def _count(db: AsyncSession, table: type[Line] | type[Memory], encoder: str) -> int:
    query = select(func.count()).select_from(table).where(or_(table.encoder.is_(None), table.encoder != encoder))
    return await db.scalar(query) or 0


def _labelled(heard: Floats, label: str | None) -> Floats:
    if label is None:
        return heard
    told = np.zeros(len(EMOTIONS), np.float32)
    told[EMOTIONS.index(label)] = 1.0
    return (LABEL_WEIGHT * told + (1 - LABEL_WEIGHT) * heard).astype(np.float32)
