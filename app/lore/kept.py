"""Timers of lore along a conversation: those after the nearest reply above a turn. So a swipe, an edit and a fork each
go on from where their branch stood."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.lore.replay import read_timers
from app.lore.timers import NO_TIMERS, Timers
from app.tables import LoreTimers, Message

LOOKED_BACK = 200
"""Messages; a turn whose timers run on stores them anew, so that those that matter are near."""


async def read_timers_of(db: AsyncSession, ids: Sequence[str | None]) -> Timers:
    """The timers that a turn after these messages begins with."""
    stored = [id_ for id_ in ids[-LOOKED_BACK:] if id_]
    if not stored:
        return NO_TIMERS
    query = (
        select(LoreTimers.document)
        .join(Message, LoreTimers.message_id == func.coalesce(Message.origin_id, Message.id))
        .where(Message.id.in_(stored))
        .order_by(Message.depth.desc())
        .limit(1)
    )
    document = await db.scalar(query)
    return NO_TIMERS if document is None else read_timers(document)
