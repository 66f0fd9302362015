"""Exchanges that became part of a conversation without a turn of ours: they are remembered in the background."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.memory.formation import exchange, importance
from app.memory.store import outdated
from app.sessions.store import Scope, chunks, original
from app.tables import Bond, Memory, Message
from retrieval.emotion import EMOTIONS

Exchange = tuple[str, str]
"""The originals of a user's message and its reply."""


async def form_missing(
    db: AsyncSession,
    scope: Scope,
    rows: Sequence[Message],
    fresh: set[str],
    *,
    names: tuple[str, str],
    before: Message | None = None,
    forgotten: Collection[Exchange] = (),
) -> int | None:
    """Memories that wait for vectors, for the exchanges in which a message of `fresh` takes part and no copy.

    `rows` are messages of one session, parents first, those above the fresh ones among them; `names` are those of the
    user and the character; the bond is locked. What a person has forgotten does not come back: both of its messages are
    old or copies, or it is among the `forgotten`. Returns the memory of the exchange above the row `before`, if there
    is one.
    """
    by_id = {row.id: row for row in rows}
    known = await _remembered(db, scope, [original(row) for row in rows])
    formed: dict[Exchange, Memory] = {}
    pairs = exchanges(rows)
    for said, reply in pairs:
        pair = original(said), original(reply)
        if (
            pair not in known
            and pair not in forgotten
            and any(row.id in fresh and row.origin_id is None for row in (said, reply))
        ):
            formed.setdefault(pair, _waiting(scope, said, reply, names))
    db.add_all(formed.values())
    await db.flush()
    known |= {pair: memory.id for pair, memory in formed.items()}
    outlived: dict[int, int] = {}
    for said, reply in pairs:
        pair = original(said), original(reply)
        earlier = _before(by_id, said)
        if pair in formed:
            formed[pair].previous_id = known.get(earlier) if earlier else None
        elif earlier in formed and pair in known:
            outlived[known[pair]] = formed[earlier].id
    await _index_anew(db, scope, outlived)
    last = _before(by_id, before) if before else None
    return known.get(last) if last else None


def exchanges(rows: Sequence[Message]) -> list[tuple[Message, Message]]:
    """Each reply among the rows after what the user had said, where that is among them."""
    by_id = {row.id: row for row in rows}
    pairs = [(by_id[row.parent_id], row) for row in rows if row.parent_id in by_id]
    return [pair for pair in pairs if _is_exchange(*pair)]


async def _index_anew(db: AsyncSession, scope: Scope, previous: Mapping[int, int]) -> None:
    """Memories whose context holds what was said before them in an earlier version; an edit must not be found by it."""
    for memory_id, previous_id in sorted(previous.items()):
        change = update(Memory).where(Memory.id == memory_id)
        await db.execute(change.values(previous_id=previous_id, encoder=outdated()))
    if previous:
        mine = (Bond.owner == scope.owner, Bond.user == scope.user, Bond.character_id == scope.character_id)
        await db.execute(update(Bond).where(*mine).values(memory_revision=Bond.memory_revision + 1))


def _is_exchange(said: Message, reply: Message) -> bool:
    told = (said.role == "user" or said.speaker_id is not None) and reply.role == "assistant"
    return told and bool(said.text.strip()) and bool(reply.text.strip())


async def _remembered(db: AsyncSession, scope: Scope, asked: Sequence[str]) -> dict[Exchange, int]:
    known: dict[Exchange, int] = {}
    for ids in chunks(asked):
        found = select(Memory.id, Memory.message_id, Memory.reply_id).where(Memory.message_id.in_(ids))
        found = found.where(Memory.character_id == scope.character_id)
        for row in await db.execute(found.order_by(Memory.id)):
            known[row.message_id, row.reply_id] = row.id
    return known


def _before(by_id: Mapping[str, Message], said: Message) -> Exchange | None:
    """The exchange before this one on the same branch. In a group it may end with what begins this one."""
    reply: Message | None = said
    while reply is not None:
        asked = by_id.get(reply.parent_id or "")
        if asked is not None and _is_exchange(asked, reply):
            return original(asked), original(reply)
        reply = asked
    return None


def _name(row: Message, otherwise: str) -> str:
    return row.name or otherwise if row.speaker_id else otherwise


def _waiting(scope: Scope, said: Message, reply: Message, names: tuple[str, str]) -> Memory:
    unfelt = np.zeros(len(EMOTIONS), np.float32)
    return Memory(
        owner=scope.owner,
        user=scope.user,
        character_id=scope.character_id,
        session_id=said.session_id,
        message_id=original(said),
        reply_id=original(reply),
        retired=not (said.active and reply.active),
        text=exchange(_name(said, names[0]), said.text, _name(reply, names[1]), reply.text),
        encoder=outdated(),
        vector=np.zeros(0, np.float32),
        emotion=unfelt if said.emotion is None else said.emotion,
        importance=importance(said.text, unfelt if said.emotion is None else said.emotion),
        created_at=said.created_at,
    )
