"""Recall: which of the character's past lines and which memories of this user belong to this moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from anyio.to_thread import run_sync
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.ask import Ask, Feeling, Known, Recalled
from app.chat.resolve import in_scope
from app.chat.setting import Opening
from app.indexes import catch_up
from app.services import Services
from app.sessions.store import begins_exchange, branch_ids
from app.settings import Strategy
from app.tables import Line, Memory, Message, now
from models.scene import Language
from retrieval.bank import BREADTH, Bank, Query
from retrieval.calibrated import LINES
from retrieval.candidate import Candidate, Ranked
from retrieval.index import Hit
from retrieval.leak import fold, shown
from retrieval.rank import rank
from retrieval.terms import terms

SAID_SHARE = 0.7
"""How much the last message counts, against the running conversation, when memories are looked up."""
TOLD_CHARACTERS = 200
"""Of a candidate that was dropped, in the trace."""
FEW_TERMS = 3
"""A message with fewer terms than this is looked up by the words of the talk before it, too."""
ALREADY_SAID = "its answer is in this conversation already"
IN_PROMPT = "the prompt shows it already"
NOT_HERE = "it was not said on this branch, or is deleted"


@dataclass(frozen=True, slots=True)
class Found:
    """What may be recalled, with the rows it comes from; and the nearest of what may not, with the reasons."""

    candidates: Sequence[Candidate]
    rows: Mapping[int, Any]
    left_out: Sequence[Hit] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)


async def recall(services: Services, ask: Ask, known: Known, feeling: Feeling, opening: Opening) -> Recalled:
    """Lines and memories for the scene, with every candidate and why it was kept or dropped."""
    settings = services.settings
    staged = known.stage.strategy if known.stage else None
    strategy = ask.strategy or staged or known.character.strategy or settings.strategy
    async with services.db.read() as db:
        found_lines = await _near_lines(services, db, known, feeling, strategy)
        found_memories = await _near_memories(services, db, known, feeling, strategy, opening.seen_ids)
    # In a thread: a search of many rows must not hold up the streams of other turns.
    lines = await run_sync(_rank_unsaid, found_lines, feeling, strategy, _most_lines(services, known), opening)
    memories = await run_sync(
        partial(rank, found_memories.candidates, feeling.mood, strategy=strategy, limit=settings.recall_memories)
    )
    line_rows, memory_rows = found_lines.rows, found_memories.rows
    kept = [memory_rows[ranked.id] for ranked in memories if ranked.kept]
    return Recalled(
        strategy=strategy,
        lines=tuple(
            line_text(line_rows[ranked.id].dialogue, known.character.language) for ranked in lines if ranked.kept
        ),
        memories=tuple(f"({row.created_at:%Y-%m-%d}) {row.text}" for row in kept),
        memory_ids=tuple(row.id for row in kept),
        considered_lines=tuple(_told(r, key=line_rows[r.id].key, answer=line_rows[r.id].answer) for r in lines),
        considered_memories=tuple(
            _told(r, text=memory_rows[r.id].text if r.id in memory_rows else "")
            for r in (*memories, *_left_out(found_memories, len(memories)))
        ),
    )


async def _near_lines(
    services: Services, db: AsyncSession, known: Known, feeling: Feeling, strategy: Strategy
) -> Found:
    if not known.lines.count:
        return Found([], {})
    mine = (Line.character_id == known.scope.character_id, Line.encoder == known.lines.encoder)
    bank = await catch_up(
        db, services.lines, known.scope.character_id, known.lines, Line, mine, services.embedding.encoder.dimension
    )
    candidates = await run_sync(_line_candidates, bank, feeling, strategy, _most_lines(services, known))
    columns = select(Line.id, Line.key, Line.answer, Line.dialogue)
    rows = {row.id: row for row in await db.execute(columns.where(*mine, Line.id.in_([one.id for one in candidates])))}
    return Found([one for one in candidates if one.id in rows], rows)


async def _near_memories(
    services: Services, db: AsyncSession, known: Known, feeling: Feeling, strategy: Strategy, seen: frozenset[str]
) -> Found:
    """Memories near the moment and all pinned ones, without other branches' and what the prompt shows anyway."""
    if not known.memories.count:
        return Found([], {})
    mine = (*in_scope(known.scope), Memory.encoder == known.memories.encoder)
    bank = await catch_up(
        db, services.memories, known.scope, known.memories, Memory, mine, services.embedding.encoder.dimension
    )
    in_prompt, not_here = await _in_prompt(db, mine, seen), await _off_path(db, known, mine)
    reasons = {**dict.fromkeys(in_prompt, IN_PROMPT), **dict.fromkeys(not_here, NOT_HERE)}
    pinned = await db.scalars(select(Memory.id).where(*mine, Memory.pinned))
    candidates, left_out = await run_sync(
        _memory_candidates, services, bank, feeling, strategy, frozenset(reasons), frozenset(pinned)
    )
    # What was deleted is told of by its id alone.
    near = [*(one.id for one in candidates), *(hit.id for hit in left_out)]
    ids = [name for name in near if reasons.get(name) != NOT_HERE]
    columns = select(Memory.id, Memory.text, Memory.created_at, Memory.importance, Memory.uses, Memory.pinned)
    rows: dict[int, Any] = {row.id: row for row in await db.execute(columns.where(*mine, Memory.id.in_(ids)))}
    return Found(_aged(candidates, rows), rows, left_out, reasons)


def _aged(candidates: Sequence[Candidate], rows: Mapping[int, Any]) -> list[Candidate]:
    """The candidates that still have rows, with what the rows say."""
    present = now()
    return [
        replace(
            one,
            age_seconds=max(0.0, (present - rows[one.id].created_at).total_seconds()),
            importance=rows[one.id].importance,
            uses=rows[one.id].uses,
            pinned=rows[one.id].pinned,
        )
        for one in candidates
        if one.id in rows
    ]


async def _off_path(db: AsyncSession, known: Known, mine: Sequence[ColumnElement[bool]]) -> frozenset[int]:
    """Memories of what was not said, seen from this turn: no current branch holds it, or this one went by it."""
    place = known.place
    query = select(Memory.id).where(*mine)
    if not known.elsewhere:
        return frozenset(await db.scalars(query.where(Memory.retired)))
    originals = select(func.coalesce(Message.origin_id, Message.id))
    here = originals.where(Message.session_id == place.session_id, begins_exchange(Message))
    path = originals.where(Message.id.in_(branch_ids(place.parent_id)))
    on_path = and_(
        func.coalesce(Memory.message_id, "").in_(path), or_(Memory.reply_id.is_(None), Memory.reply_id.in_(path))
    )
    return frozenset(await db.scalars(query.where(or_(Memory.retired, Memory.message_id.in_(here)), ~on_path)))


async def _in_prompt(db: AsyncSession, mine: Sequence[ColumnElement[bool]], seen: frozenset[str]) -> frozenset[int]:
    originals = select(func.coalesce(Message.origin_id, Message.id)).where(Message.id.in_(seen))
    return frozenset(await db.scalars(select(Memory.id).where(*mine, Memory.message_id.in_(originals))))


def _most_lines(services: Services, known: Known) -> int:
    own = known.character.recall_lines
    return services.settings.recall_lines if own is None else own


# Both take milliseconds for thousands of rows and a tenth of a second for a hundred thousand, so they run in a thread:
# whoever is being streamed to must not wait for them.
def _line_candidates(bank: Bank, feeling: Feeling, strategy: Strategy, limit: int) -> Sequence[Candidate]:
    query = Query(feeling.talk, terms(feeling.talk_text), feeling.mood)
    return bank.find(query, strategy, limit=limit)


def _memory_candidates(
    services: Services,
    bank: Bank,
    feeling: Feeling,
    strategy: Strategy,
    out: frozenset[int],
    pinned: frozenset[int],
) -> tuple[Sequence[Candidate], Sequence[Hit]]:
    vector = feeling.said * SAID_SHARE + feeling.talk * (1 - SAID_SHARE)
    words = terms(feeling.said_text)
    if len(words) < FEW_TERMS:
        words = np.concatenate([words, terms(feeling.talk_text)])
    query = Query((vector / np.linalg.norm(vector)).astype(np.float32), words, feeling.mood)
    limit = services.settings.recall_memories
    return bank.find(query, strategy, limit=limit, without=out, pinned=pinned), bank.nearest(query, out, BREADTH)


def _rank_unsaid(
    found: Found, feeling: Feeling, strategy: Strategy, limit: int, opening: Opening
) -> tuple[Ranked, ...]:
    """The lines ranked, without those whose answer the prompt's history shows: they come last, with that reason."""
    history = fold([message.content for message in opening.scene.history])
    candidates = list(found.candidates)
    said: list[Ranked] = []
    while True:
        ranked = rank(candidates, feeling.mood, strategy=strategy, limit=limit, calibration=LINES)
        fresh = [r for r in ranked if r.kept and shown(history, fold(found.rows[r.id].answer.splitlines()))]
        if not fresh:
            last = [replace(r, rank=n, kept=False, reason=ALREADY_SAID) for n, r in enumerate(said, len(ranked) + 1)]
            return (*ranked, *last)
        said += fresh
        gone = {r.id for r in fresh}
        candidates = [one for one in candidates if one.id not in gone]


def _left_out(found: Found, ranked: int) -> list[Ranked]:
    """What was near but may not be recalled, behind the `ranked`."""
    return [
        Ranked(hit.id, hit.score, {"cosine": hit.score}, rank=n, kept=False, reason=found.reasons[hit.id])
        for n, hit in enumerate(found.left_out, ranked + 1)
    ]


def line_text(dialogue: Iterable[Sequence[str]], language: Language) -> str:
    """A past line, [speaker, text] pairs, as a prompt has it."""
    colon = "：" if language == "zh" else ": "
    return "\n".join(f"{speaker}{colon}{text}" for speaker, text in dialogue)


def _told(ranked: Ranked, **texts: str) -> dict[str, Any]:
    """A candidate as the trace tells it."""
    return {
        "id": ranked.id,
        **{name: text if ranked.kept else text[:TOLD_CHARACTERS] for name, text in texts.items()},
        "score": round(ranked.score, 4),
        "components": {name: round(value, 4) for name, value in ranked.components.items()},
        "rank": ranked.rank,
        "kept": ranked.kept,
        "reason": ranked.reason,
    }
