"""Remember: everything a turn leaves behind, in one write transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row as Found
from sqlalchemy import case, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.affinity import moved, stage_of
from app.bond.store import lock_bond
from app.chat.ask import Outcome, Turn
from app.chat.resolve import in_scope
from app.chat.speak import Speech
from app.chat.trace import explain
from app.memory.formation import exchange, importance, memory_terms
from app.memory.store import current_text, outdated
from app.services import Services
from app.sessions.store import append, child
from app.tables import Bond, Memory, Session, Trace, now
from app.tables import Message as Row
from models.scene import Message
from retrieval.context import in_context

TITLE_CHARS = 60


async def remember(services: Services, turn: Turn, speeches: Sequence[Speech], outcome: Outcome) -> None:
    """Store the messages, the memory, the bond and the trace of a turn; nothing when `store` is off.

    The first of several replies is the one the talk goes on from, and the one that is remembered.
    """
    speech = speeches[0]
    if not turn.ask.store:
        return
    with turn.watch("remember"):
        memory, before = await _form_memory(services, turn, speech)
        turn.watch.mark("total")
        async with services.db.write() as db:
            # First, as edits of memories do: who changes what two of them share waits here and not crosswise.
            bond = await _move_bond(db, turn)
            await _check_previous(db, memory, before)
            await _keep_session(db, turn)
            said = await append(db, turn.known.place, turn.session_id, turn.id)
            memory.message_id = said.id
            replies = [_reply(turn, said, speech, outcome) for speech in speeches]
            reply = replies[0]
            db.add_all([memory, *replies])
            await db.execute(update(Session).where(Session.id == turn.session_id).values(leaf_id=reply.id))
            await _touch_recalled(db, turn)
            db.add(
                Trace(
                    id=turn.id,
                    owner=turn.known.scope.owner,
                    session_id=turn.session_id,
                    outcome=outcome,
                    document=explain(turn, speeches, outcome, bond.affinity, bond.stage, services.engine.name),
                )
            )
    if services.settings.emotion == "model":
        services.wake.set()


def _reply(turn: Turn, said: Row, speech: Speech, outcome: Outcome) -> Row:
    """The row of a reply; one of several that came to its end did so even if another was hung up on."""
    message = Message("assistant", speech.said)
    row = child(turn.session_id, said.id, said.path_hash, said.depth + 1, message, turn.id)
    row.outcome = "finished" if speech.finish else outcome
    return row


async def _form_memory(services: Services, turn: Turn, speech: Speech) -> tuple[Memory, str]:
    """The exchange with its vectors and its feeling, and the text of the one before it that they were made with."""
    said = turn.known.place.history[-1].content
    text = exchange(turn.scene.user, said, turn.scene.character, speech.said)
    created = now()
    previous = await _previous(services, turn)
    before = previous.text if previous else ""
    vectors = await services.embedding.passages([text, in_context(text, before, created)])
    scope = turn.known.scope
    memory = Memory(
        owner=scope.owner,
        user=scope.user,
        character_id=scope.character_id,
        session_id=turn.session_id,
        text=text,
        # The language model is asked in the background how it felt; until then the exchange is in the prompt anyway.
        encoder=services.recipe if services.settings.emotion != "model" else outdated(),
        vector=vectors[0],
        context=vectors[1],
        terms=memory_terms(text, created),
        previous_id=previous.id if previous else None,
        emotion=turn.feeling.emotion,
        importance=importance(said, turn.feeling.emotion),
        created_at=created,
    )
    return memory, before


async def _check_previous(db: AsyncSession, memory: Memory, before: str) -> None:
    """Who edits or forgets the exchange before this one while this one is embedded must not break or betray it."""
    text = await current_text(db, memory.previous_id)
    if text is None:
        memory.previous_id = None
    if (text or "") != before:
        memory.encoder = outdated()


async def _previous(services: Services, turn: Turn) -> Found[int, str] | None:
    """The id and the text of the exchange before this one on the same branch, if it is remembered."""
    place = turn.known.place
    told = zip(place.ids, place.history, strict=True)
    earlier = [message_id for message_id, message in told if message_id and message.role == "user"][-2:]
    # A regenerated turn's own message is stored already; its first try must not count as what was said before.
    earlier = [message_id for message_id in earlier if message_id != place.ids[-1]][-1:]
    query = select(Memory.id, Memory.text).where(*in_scope(turn.known.scope), Memory.message_id.in_(earlier))
    async with services.db.read() as db:
        return (await db.execute(query.order_by(Memory.id.desc()).limit(1))).first()


async def _keep_session(db: AsyncSession, turn: Turn) -> None:
    title = " ".join(turn.known.place.history[-1].content.split())[:TITLE_CHARS]
    if turn.known.place.session_id is not None:
        # One that was begun before anything was said has no title yet.
        named = case((Session.title == "", title), else_=Session.title)
        change = update(Session).where(Session.id == turn.session_id).values(updated_at=now(), title=named)
        await db.execute(change)
        return
    scope = turn.known.scope
    db.add(
        Session(id=turn.session_id, owner=scope.owner, user=scope.user, character_id=scope.character_id, title=title)
    )
    await db.flush()


async def _move_bond(db: AsyncSession, turn: Turn) -> Bond:
    bond = await lock_bond(db, turn.known.scope)
    bond.affinity = moved(bond.affinity, turn.feeling.emotion)
    stage = stage_of(bond.affinity, turn.known.character.stages, bond.stage)
    bond.stage = stage.name if stage else ""
    bond.mood = turn.feeling.mood
    bond.turns += 1
    bond.updated_at = now()
    return bond


async def _touch_recalled(db: AsyncSession, turn: Turn) -> None:
    """What is recalled is forgotten more slowly."""
    await db.execute(
        update(Memory).where(Memory.id.in_(turn.recalled.memory_ids)).values(uses=Memory.uses + 1, used_at=now())
    )
