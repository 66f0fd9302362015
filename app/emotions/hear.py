"""How rows feel: heard when they are indexed, and anew when something else hears than did then."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from sqlalchemy import Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.emotions.by_model import ask_model
from app.memory.formation import holds
from app.memory.store import lock_bonds
from app.services import Services
from app.sessions.store import original
from app.tables import Character, Floats, Line, Memory, Message
from models.engine import EngineError
from retrieval.emotion import EMOTIONS

log = logging.getLogger("moodline")
BATCH = 64
LABEL_WEIGHT = 0.8
"""How much a person's label counts against what the tagger hears in the answer."""

Row = TypeVar("Row", Line, Memory)


async def hear_lines(services: Services) -> int:
    """Hear a batch of lines that are indexed and that something else has heard; returns how many."""
    tagger = services.tagger
    async with services.db.read() as db:
        rows = list(await db.scalars(_unheard(services, Line)))
    if not rows:
        return 0
    answers = [row.answer for row in rows]
    heard = await hear(services, answers, await services.embedding.passages(answers))
    async with services.db.write() as db:
        for character_id in sorted({row.character_id for row in rows}):
            raised = Character.lines_revision + 1
            await db.execute(update(Character).where(Character.id == character_id).values(lines_revision=raised))
        for row, emotion in zip(rows, heard, strict=True):
            same = (Line.id == row.id, Line.encoder == row.encoder)
            await db.execute(update(Line).where(*same).values(emotion=labelled(emotion, row.label), tagger=tagger))
    return len(rows)


async def hear_memories(services: Services) -> int:
    """The same of memories."""
    tagger = services.tagger
    async with services.db.read() as db:
        rows = list(await db.scalars(_unheard(services, Memory)))
        texts = await heard_texts(db, rows)
    if not rows:
        return 0
    heard = await hear(services, texts, await services.embedding.passages(texts))
    async with services.db.write() as db:
        for bond in await lock_bonds(db, rows):
            bond.memory_revision += 1
        for row, emotion in zip(rows, heard, strict=True):
            same = (Memory.id == row.id, Memory.text == row.text, Memory.encoder == row.encoder)
            await db.execute(update(Memory).where(*same).values(emotion=emotion, tagger=tagger))
    return len(rows)


async def heard_texts(db: AsyncSession, rows: Sequence[Memory]) -> list[str]:
    """What each memory's emotion is that of: as in a turn, of what the user said; of all that an edited one says."""
    asked = [row.message_id for row in rows if row.message_id]
    found = select(Message).where(or_(Message.id.in_(asked), Message.origin_id.in_(asked)))
    said = {original(row): row.text for row in await db.scalars(found)}
    texts = [(row.text, said.get(row.message_id or "")) for row in rows]
    return [said if said and holds(text, said) else text for text, said in texts]


async def hear(services: Services, texts: list[str], vectors: Floats) -> Floats:
    """Emotions float32 [n, 8], by what the settings name; a language model that can't answer is done without."""
    if services.settings.emotion == "model":
        try:
            return await ask_model(services.engine, texts)
        except EngineError as error:
            log.warning("the language model could not be asked for emotions: %s", error)
    return await services.embedding.feel(texts, vectors)


def labelled(heard: Floats, label: str | None) -> Floats:
    """What is heard, and what a person says it is."""
    if label is None:
        return heard
    told = np.zeros(len(EMOTIONS), np.float32)
    told[EMOTIONS.index(label)] = 1.0
    return (LABEL_WEIGHT * told + (1 - LABEL_WEIGHT) * heard).astype(np.float32)


def _unheard(services: Services, table: type[Row]) -> Select[Row]:
    stale = (table.encoder == services.recipe, table.tagger.is_distinct_from(services.tagger))
    return select(table).where(*stale).order_by(table.id).limit(BATCH)
