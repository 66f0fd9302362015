"""What people made of memories, out of the database and into it again: it goes with the conversation it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.memory.formation import exchange, importance
from app.memory.waiting import Exchange, exchanges
from app.sessions.archive import Archive, Kept
from app.sessions.normal import normal
from app.sessions.store import chunks, original
from app.tables import Memory, Message
from retrieval.emotion import EMOTIONS

SAME_WEIGHT = 1e-6
Remembered = Row[str | None, str | None, str, float, bool]
"""A memory's message and reply, its text, its importance, whether it is pinned."""


async def read_kept(db: AsyncSession, rows: Sequence[Message], names: tuple[str, str]) -> dict[str, Kept]:
    """By the ids of replies, the memories of their exchanges that are not as they come of themselves.

    `names` are those of the user and the character.
    """
    known = await _known(db, rows)
    found: dict[str, Kept] = {}
    for said, reply in exchanges(rows):
        memory = known.get((original(said), original(reply))) or known.get((original(said), None))
        if memory is None:
            found[reply.id] = Kept(forgotten=True)
        elif (kept := _made_of(memory, said, reply, names)) != Kept():
            found[reply.id] = kept
    return found


def kept_of(archive: Archive, rows: Mapping[str, Message]) -> dict[Exchange, Kept]:
    """The same of an archive whose messages became `rows`, by the exchanges."""
    told = {rows[one.key].id: one.memory for one in archive.messages if one.memory}
    pairs = exchanges(list(rows.values()))
    return {(original(said), original(reply)): told[reply.id] for said, reply in pairs if reply.id in told}


async def keep(db: AsyncSession, session_id: str, kept: Mapping[Exchange, Kept]) -> None:
    """Make the memories of a session, which wait for their vectors, what was made of them."""
    for memory in await db.scalars(select(Memory).where(Memory.session_id == session_id)):
        made = kept.get((memory.message_id or "", memory.reply_id or ""), Kept())
        memory.pinned = made.pinned
        memory.text = made.text or memory.text
        memory.importance = memory.importance if made.importance is None else made.importance


async def _known(db: AsyncSession, rows: Sequence[Message]) -> dict[tuple[str, str | None], Remembered]:
    columns = (Memory.message_id, Memory.reply_id, Memory.text, Memory.importance, Memory.pinned)
    known: dict[tuple[str, str | None], Remembered] = {}
    for ids in chunks(sorted({original(row) for row in rows if row.role == "user"})):
        for row in await db.execute(select(*columns).where(Memory.message_id.in_(ids)).order_by(Memory.id)):
            known[row.message_id, row.reply_id] = row
    return known


def _made_of(memory: Remembered, said: Message, reply: Message, names: tuple[str, str]) -> Kept:
    unfelt = np.zeros(len(EMOTIONS), np.float32)
    weight = importance(said.text, unfelt if said.emotion is None else said.emotion)
    # A turn may have been sent with other line breaks than it is stored with.
    as_said = normal(memory.text) == normal(exchange(names[0], said.text, names[1], reply.text))
    return Kept(
        text=None if as_said else memory.text,
        importance=None if abs(memory.importance - weight) < SAME_WEIGHT else memory.importance,
        pinned=memory.pinned,
    )
