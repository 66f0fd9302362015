"""Take messages away for good, in steps that hold nobody up."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables import Message, Session, Trace

STEP = 300
"""Rows that one transaction takes away."""


async def remove_some(db: AsyncSession, session_id: str) -> dict[str, int]:
    """Take away some rows of a conversation, in the end itself; counts by table, empty when nothing is left.

    The deepest messages go first: a database that deletes a message and then all below it gives up at 1,000 levels.
    """
    deepest = select(Message.id).where(Message.session_id == session_id).order_by(Message.depth.desc()).limit(STEP)
    ids = list(await db.scalars(deepest))
    if ids:
        await db.execute(delete(Message).where(Message.id.in_(ids)))
        return {"messages": len(ids)}
    traces = list(await db.scalars(select(Trace.id).where(Trace.session_id == session_id).limit(STEP)))
    if traces:
        await db.execute(delete(Trace).where(Trace.id.in_(traces)))
        return {"traces": len(traces)}
    found = await db.scalar(select(func.count()).select_from(Session).where(Session.id == session_id))
    await db.execute(delete(Session).where(Session.id == session_id))
    return {"sessions": found} if found else {}
