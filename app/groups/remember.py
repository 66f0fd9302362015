"""What a turn in a group leaves behind: who spoke and who heard it, a memory for each of these, the speaker's bond."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.store import lock_bond
from app.groups.cast import Cast
from app.groups.spoken import Spoken
from app.memory.waiting import form_missing
from app.sessions.store import Scope, branch_ids
from app.tables import Bond, Character, Message
from models.scene import Message as Said

ABOVE = 12
"""Messages above a new one among which the exchange before it is looked for."""
NAME_CHARS = 64


def mark(cast: Cast, row: Message, message: Said) -> None:
    """Write down who says a new message, and that all who are here hear it; a copy has both of its original."""
    if row.origin_id is not None:
        return
    row.audience = cast.present
    if message.role == "assistant":
        row.speaker_id = (message.speaker if isinstance(message, Spoken) else "") or cast.id
        row.name = cast.name_of(row.speaker_id)[:NAME_CHARS]


async def lock_bonds_of(db: AsyncSession, talk: Scope, members: Iterable[str]) -> dict[str, Bond]:
    """The bonds of a group and of its members with a user, locked in the order in which everybody locks bonds."""
    asked = {talk.character_id, *members}
    return {one: await lock_bond(db, replace(talk, character_id=one)) for one in await _there(db, asked)}


async def form_for_all(db: AsyncSession, talk: Scope, rows: Sequence[Message], fresh: set[str], user: str) -> None:
    """A memory for each member of each line that it heard, with what that followed, where one of `fresh` is new.

    They wait for their vectors: until the background has them, what they tell is in the prompts anyway.
    """
    for member in await _there(db, {id_ for row in rows for id_ in row.audience or ()}):
        heard = [row for row in rows if member in (row.audience or ())]
        await form_missing(db, replace(talk, character_id=member), heard, fresh, names=(user, ""))


async def tail_of(db: AsyncSession, leaf: Message, fresh: int) -> list[Message]:
    """The end of a branch: `fresh` new messages and some above them."""
    near = Message.depth > leaf.depth - fresh - ABOVE
    return list(
        await db.scalars(select(Message).where(Message.id.in_(branch_ids(leaf.id)), near).order_by(Message.depth))
    )


async def _there(db: AsyncSession, members: Iterable[str]) -> list[str]:
    return sorted(await db.scalars(select(Character.id).where(Character.id.in_(set(members)))))
