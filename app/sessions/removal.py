"""Take messages away for good, in steps that hold nobody up."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.memory.store import outdated
from app.tables import Bond, BondEvent, Memory, Message, Session, Trace

STEP = 300
"""Rows that one transaction takes away."""


async def remove_some(db: AsyncSession, session_id: str) -> dict[str, int]:
    """Take away some rows of a conversation, in the end itself; counts by table, empty when nothing is left.

    The caller has locked the bond. The deepest messages go first: a database that deletes a message and then all below
    it gives up at 1,000 levels.
    """
    deepest = select(Message.id).where(Message.session_id == session_id).order_by(Message.depth.desc()).limit(STEP)
    if ids := list(await db.scalars(deepest)):
        return await remove_messages(db, ids)
    traces = list(await db.scalars(select(Trace.id).where(Trace.session_id == session_id).limit(STEP)))
    if traces:
        await db.execute(delete(Trace).where(Trace.id.in_(traces)))
        return {"traces": len(traces)}
    found = await db.scalar(select(func.count()).select_from(Session).where(Session.id == session_id))
    await db.execute(delete(Session).where(Session.id == session_id))
    return {"sessions": found} if found else {}


async def remove_messages(db: AsyncSession, ids: Sequence[str]) -> dict[str, int]:
    """Take messages away, and what hangs on none that is left: memories at rest, and what moved the bond."""
    originals = select(func.coalesce(Message.origin_id, Message.id)).where(Message.id.in_(ids))
    named = list(await db.scalars(originals))
    await db.execute(delete(Message).where(Message.id.in_(ids)))
    left = exists().where(or_(Message.id == Memory.message_id, Message.origin_id == Memory.message_id))
    bare = select(Memory).where(Memory.message_id.in_(named), Memory.retired, ~left).order_by(Memory.id)
    memories = list(await db.scalars(bare.with_for_update(of=Memory)))
    for memory in memories:
        await _forget(db, memory)
    left = exists().where(or_(Message.id == BondEvent.message_id, Message.origin_id == BondEvent.message_id))
    await db.execute(delete(BondEvent).where(BondEvent.message_id.in_(named), ~left))
    return {"messages": len(ids), **({"memories": len(memories)} if memories else {})}


async def _forget(db: AsyncSession, memory: Memory) -> None:
    """What followed is indexed anew: its context holds the words that go."""
    mine = (Bond.owner == memory.owner, Bond.user == memory.user, Bond.character_id == memory.character_id)
    await db.execute(update(Bond).where(*mine).values(memory_revision=Bond.memory_revision + 1))
    await db.execute(update(Memory).where(Memory.previous_id == memory.id).values(encoder=outdated()))
    await db.delete(memory)
    await db.flush()
