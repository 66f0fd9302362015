"""Recall: which of the character's past lines and which memories of this user belong to this moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.ask import Ask, Feeling, Known, Recalled
from app.chat.resolve import in_scope
from app.chat.setting import Opening
from app.indexes import catch_up
from app.services import Services
from app.tables import Floats, Line, Memory, now
from models.scene import Language
from retrieval.index import Index
from retrieval.rank import Candidate, Ranked, rank

CANDIDATES = 32
"""How many nearest rows are ranked."""
SAID_SHARE = 0.7
"""How much the last message counts, against the running conversation, when memories are looked up."""


async def recall(services: Services, ask: Ask, known: Known, feeling: Feeling, opening: Opening) -> Recalled:
    """Lines and memories for the scene, with every candidate and why it was kept or dropped."""
    settings = services.settings
    strategy = ask.strategy or known.character.strategy or settings.strategy
    async with services.db.read() as db:
        line_rows, near_lines = await _near_lines(services, db, known, feeling)
        memory_rows, near_memories = await _near_memories(services, db, known, feeling, opening.seen_ids)
    lines = rank(near_lines, feeling.mood, strategy=strategy, limit=settings.recall_lines)
    memories = rank(near_memories, feeling.mood, strategy=strategy, limit=settings.recall_memories)
    recalled = [memory_rows[ranked.id] for ranked in memories if ranked.kept]
    return Recalled(
        strategy=strategy,
        lines=tuple(_line_text(line_rows[ranked.id], known.character.language) for ranked in lines if ranked.kept),
        memories=tuple(f"({row.created_at:%Y-%m-%d}) {row.text}" for row in recalled),
        memory_ids=tuple(row.id for row in recalled),
        considered_lines=tuple(_told(r, key=line_rows[r.id].key, answer=line_rows[r.id].answer) for r in lines),
        considered_memories=tuple(_told(r, text=memory_rows[r.id].text) for r in memories),
    )


async def _near_lines(
    services: Services, db: AsyncSession, known: Known, feeling: Feeling
) -> tuple[Mapping[int, Line], list[Candidate]]:
    mine = (Line.character_id == known.scope.character_id, Line.encoder == known.lines.encoder)
    index = await catch_up(
        db, services.lines, known.scope.character_id, known.lines, Line, mine, services.embedding.encoder.dimension
    )
    scores = _nearest(index, feeling.talk, CANDIDATES)
    rows = {row.id: row for row in await db.scalars(select(Line).where(*mine, Line.id.in_(scores)))}
    return rows, [
        Candidate(id=row.id, semantic=scores[row.id], emotion=row.emotion, vector=row.vector) for row in rows.values()
    ]


async def _near_memories(
    services: Services, db: AsyncSession, known: Known, feeling: Feeling, seen: frozenset[str]
) -> tuple[Mapping[int, Memory], list[Candidate]]:
    """Memories near the moment and all pinned ones, without the exchanges that the prompt shows anyway."""
    mine = (*in_scope(known.scope), Memory.encoder == known.memories.encoder)
    index = await catch_up(
        db, services.memories, known.scope, known.memories, Memory, mine, services.embedding.encoder.dimension
    )
    query = feeling.said * SAID_SHARE + feeling.talk * (1 - SAID_SHARE)
    query = (query / np.linalg.norm(query)).astype(np.float32)
    scores = _nearest(index, query, CANDIDATES + len(seen))
    found = await db.scalars(select(Memory).where(*mine, or_(Memory.id.in_(scores), Memory.pinned)))
    rows = {row.id: row for row in found if row.message_id not in seen}
    present = now()
    return rows, [
        Candidate(
            id=row.id,
            semantic=scores.get(row.id, float(query @ row.vector)),
            emotion=row.emotion,
            age_seconds=max(0.0, (present - row.created_at).total_seconds()),
            importance=row.importance,
            uses=row.uses,
            pinned=row.pinned,
            vector=row.vector,
        )
        for row in rows.values()
    ]


def _nearest(index: Index, query: Floats, k: int) -> dict[int, float]:
    """Ids and cosines of the nearest rows. A flat search of thousands takes less than handing it to a thread."""
    return {hit.id: hit.score for hit in index.search(query[None, :], k)[0]}


def _line_text(line: Line, language: Language) -> str:
    colon = "：" if language == "zh" else ": "
    return "\n".join(f"{speaker}{colon}{text}" for speaker, text in line.dialogue)


def _told(ranked: Ranked, **texts: str) -> dict[str, Any]:
    """A candidate as the trace tells it."""
    return {
        "id": ranked.id,
        **texts,
        "score": round(ranked.score, 4),
        "components": {name: round(value, 4) for name, value in ranked.components.items()},
        "rank": ranked.rank,
        "kept": ranked.kept,
        "reason": ranked.reason,
    }
