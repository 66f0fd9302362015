"""Remember: everything a turn leaves behind, in one write transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ScalarSelect, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.judge import expect_judgement
from app.bond.rules import rules_of
from app.bond.store import count_exchange, lock_bond, replay_bond
from app.chat import progress
from app.chat.ask import Outcome, Turn
from app.chat.resolve import in_scope
from app.chat.speak import Speech
from app.chat.trace import explain
from app.errors import NotFound
from app.groups.remember import form_for_all, lock_bonds_of, mark, tail_of
from app.groups.spoken import Spoken
from app.lore.replay import write_timers
from app.lore.timers import NO_TIMERS
from app.memory.formation import exchange, importance, memory_terms
from app.memory.store import current_text, outdated
from app.memory.waiting import form_missing
from app.services import Services
from app.sessions.settle import settle
from app.sessions.store import append, child, original, read_branch
from app.tables import Bond, LoreTimers, Memory, Session, Trace, now
from app.tables import Message as Stored
from models.scene import Message
from retrieval.context import in_context
from retrieval.encoder import Vectors

log = logging.getLogger("moodline")

TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Grown:
    """What a turn adds to a tree: messages that were not stored, the user's message (stored or not), the replies."""

    fresh: list[Stored]
    said: Stored
    answers: list[Stored]


async def remember(services: Services, turn: Turn, speeches: Sequence[Speech], outcome: Outcome) -> None:
    """Store the messages, the memory, the bond and the trace of a turn; nothing when `store` is off.

    The first of several replies is the one the talk goes on from; the others count once they are chosen.
    Raises `Conflict`, and stores nothing, where the user was erased meanwhile.
    """
    if not turn.ask.store:
        return
    with turn.watch("remember"):
        memory = None if turn.ask.cast else await _form_memory(services, turn, speeches[0])
        turn.watch.mark("total")
        async with services.db.write() as db:
            # First, as whatever changes a conversation does: who changes what two share waits here and not crosswise.
            bond = await _lock(db, turn)
            await progress.hold(db, turn.id)
            session = await _keep_session(db, turn)
            grown = await _grow(db, turn, session, speeches, outcome)
            if memory:
                await _place_memory(db, turn, *memory, grown)
            else:
                await _remember_round(db, turn, grown)
            await _count(db, turn, session, grown, bond)
            await _touch_recalled(db, turn)
            if turn.known.character.bond.judged:
                expect_judgement(db, turn.known.scope, grown.answers[0].id)
            ids = {"message_id": grown.said.id, "reply_id": grown.answers[0].id}
            await progress.end(db, turn.id, speeches[0], outcome, **ids)
            db.add(
                Trace(
                    id=turn.id,
                    owner=turn.known.scope.owner,
                    session_id=turn.session_id,
                    outcome=outcome,
                    document=explain(turn, speeches, outcome, _shown(bond), services.engine.name),
                )
            )
    if len(grown.fresh) > 1 or len(speeches) > 1 or memory is None or memory[0].encoder != services.recipe:
        services.wake.set()
    if turn.known.character.bond.judged:
        services.unjudged.set()


async def _lock(db: AsyncSession, turn: Turn) -> Bond:
    """The bond that this turn moves, locked, with all others that what is stored counts for."""
    scope, cast = turn.known.scope, turn.ask.cast
    if cast is None:
        return await lock_bond(db, scope)
    return (await lock_bonds_of(db, turn.known.talk, cast.present))[scope.character_id]


async def _remember_round(db: AsyncSession, turn: Turn, grown: Grown) -> None:
    """What every member who was there keeps of what was said."""
    rows = await tail_of(db, grown.said, len(grown.fresh))
    fresh = {row.id for row in (*grown.fresh, *grown.answers)}
    await form_for_all(db, turn.known.talk, [*rows, *grown.answers], fresh, turn.scene.user)


async def _grow(db: AsyncSession, turn: Turn, session: Session, speeches: Sequence[Speech], outcome: Outcome) -> Grown:
    fresh = await append(db, turn.known.place, session.id, turn.id)
    if turn.ask.cast:
        for row, message in zip(fresh, turn.known.place.history[turn.known.place.stored :], strict=True):
            mark(turn.ask.cast, row, message)
    said = fresh[-1] if fresh else await db.get_one(Stored, turn.known.place.ids[-1])
    # In a group the last thing that was said may be another member's, or one that the speaker has not heard.
    heard = turn.known.heard.history[-1].content == turn.known.place.history[-1].content
    if said.emotion is None and said.role == "user" and heard:
        said.emotion = turn.feeling.emotion
    answers: list[Stored] = []
    for speech in speeches:
        answer = child(session.id, said, Message("assistant", turn.scene.begun + speech.said), turn.id)
        # One of several that came to its end did so even if another was hung up on.
        answer.outcome = "finished" if speech.finish else outcome
        answer.active = not answers
        if turn.ask.cast:
            mark(turn.ask.cast, answer, Spoken("assistant", answer.text, turn.ask.cast.speaker))
        answers.append(answer)
    db.add_all(answers)
    await db.flush()
    if turn.lore.timers != NO_TIMERS or turn.known.lore_timers != NO_TIMERS:
        db.add_all(LoreTimers(message_id=answer.id, document=write_timers(turn.lore.timers)) for answer in answers)
    return Grown(fresh, said, answers)


async def _count(db: AsyncSession, turn: Turn, session: Session, grown: Grown, bond: Bond) -> None:
    """Make the reply current and count the exchange, unless its branch or session was deleted while it was spoken."""
    # One that was begun before anything was said has no title yet.
    session.title = session.title or " ".join(turn.known.place.history[-1].content.split())[:TITLE_CHARS]
    session.revision += 1
    session.updated_at = now()
    fresh = grown.fresh
    # Then all that was said before counts on, and this is the latest. A reply that the client brings along would have
    # what stands above it count as well.
    goes_on = bool(fresh) and session.deleted_at is None and session.leaf_id == fresh[0].parent_id
    if goes_on and fresh[0].role == "user" and not any(row.origin_id or row.deleted_at for row in fresh):
        session.leaf_id = grown.answers[0].id
        await count_exchange(db, bond, turn.feeling.emotion, rules_of(turn.known.character))
        return
    if turn.ask.cast and not fresh and session.deleted_at is None and session.leaf_id == grown.said.id:
        # A line after another member's: nothing that counted counts less, and only who speaks has answered the user.
        session.leaf_id = grown.answers[0].id
        await replay_bond(db, bond, rules_of(turn.known.character))
        return
    if grown.said.deleted_at is None:
        session.leaf_id = grown.answers[0].id
    await settle(db, turn.known.talk, session)


async def _form_memory(services: Services, turn: Turn, speech: Speech) -> tuple[Memory, str]:
    """The exchange with its vectors and its feeling, and the text of the one before it that they were made with."""
    said = turn.known.place.history[-1].content
    text = exchange(turn.scene.user, said, turn.scene.character, turn.scene.begun + speech.said)
    created = now()
    previous_id, before = await _previous(services, turn)
    vectors = await _embedded(services, [text, in_context(text, before, created)])
    # The language model is asked in the background how it felt; until then the exchange is in the prompt anyway.
    waits = vectors is None or services.settings.emotion == "model"
    scope = turn.known.scope
    memory = Memory(
        owner=scope.owner,
        user=scope.user,
        character_id=scope.character_id,
        session_id=turn.session_id,
        text=text,
        encoder=outdated() if waits else services.recipe,
        vector=np.zeros(0, np.float32) if vectors is None else vectors[0],
        context=None if vectors is None else vectors[1],
        terms=memory_terms(text, created),
        previous_id=previous_id,
        emotion=turn.feeling.emotion,
        tagger=services.embedding.tagger.id,
        importance=importance(said, turn.feeling.emotion),
        created_at=created,
    )
    return memory, before


async def _embedded(services: Services, texts: Sequence[str]) -> Vectors | None:
    """None where the encoder fails: what was said is stored all the same, and its memory waits for vectors."""
    try:
        return await services.embedding.passages(texts)
    except Exception:
        log.exception("an exchange could not be embedded; it is tried again in the background")
        return None


async def _place_memory(db: AsyncSession, turn: Turn, memory: Memory, before: str, grown: Grown) -> None:
    """Tie the memory to its exchange and to the one before it.

    Who edits or forgets the exchange before this one while this one is embedded must not break or betray it. What the
    client brought along is remembered too, in the background, and so are the other replies.
    """
    memory.message_id, memory.reply_id = original(grown.said), grown.answers[0].id
    others = grown.answers[1:]
    if len(grown.fresh) > 1 or others:
        rows = [*await read_branch(db, grown.said.id), *others]
        fresh = {row.id for row in (*grown.fresh, *others)}
        names = turn.scene.user, turn.scene.character
        memory.previous_id = await form_missing(db, turn.known.scope, rows, fresh, names=names, before=grown.said)
    text = await current_text(db, memory.previous_id)
    if text is None:
        memory.previous_id = None
    if (text or "") != before:
        memory.encoder = outdated()
    db.add(memory)


async def _previous(services: Services, turn: Turn) -> tuple[int | None, str]:
    """The memory of the exchange before this one on the same branch, and what it says; ("" when it was forgotten)."""
    place = turn.known.place
    ends = [n for n in range(1, len(place.history) - 1) if _is_reply(place.history, n)]
    if not ends:
        return None, ""
    said, reply = ends[-1] - 1, ends[-1]
    if place.ids[reply] is None:
        texts = place.history[said].content, place.history[reply].content
        return None, exchange(turn.scene.user, texts[0], turn.scene.character, texts[1])
    async with services.db.read() as db:
        query = select(Memory.id, Memory.text).where(
            *in_scope(turn.known.scope),
            Memory.message_id == _original(place.ids[said]),
            or_(Memory.reply_id == _original(place.ids[reply]), Memory.reply_id.is_(None)),
        )
        found = (await db.execute(query.order_by(Memory.id.desc()).limit(1))).first()
    return (found.id, found.text) if found else (None, "")


def _original(message_id: str | None) -> ScalarSelect[str]:
    return select(func.coalesce(Stored.origin_id, Stored.id)).where(Stored.id == message_id).scalar_subquery()


def _shown(bond: Bond) -> dict[str, Any]:
    return {"affinity": bond.affinity, "stage": bond.stage, "variables": bond.variables or {}}


def _is_reply(history: tuple[Message, ...], place: int) -> bool:
    return history[place].role == "assistant" and history[place - 1].role == "user"


async def _keep_session(db: AsyncSession, turn: Turn) -> Session:
    place = turn.known.place
    if place.session_id is not None:
        session = await db.get(Session, turn.session_id)
        # What goes for good goes in steps, the end of a branch first.
        if session is None or (place.parent_id and await db.get(Stored, place.parent_id) is None):
            raise NotFound("This conversation was erased while the reply was spoken.", code="session_not_found")
        return session
    scope = turn.known.talk
    session = Session(
        id=turn.session_id, owner=scope.owner, user=scope.user, character_id=scope.character_id, revision=0
    )
    db.add(session)
    await db.flush()
    return session


async def _touch_recalled(db: AsyncSession, turn: Turn) -> None:
    """What is recalled is forgotten more slowly."""
    if not turn.recalled.memory_ids:
        return
    await db.execute(
        update(Memory).where(Memory.id.in_(turn.recalled.memory_ids)).values(uses=Memory.uses + 1, used_at=now())
    )
