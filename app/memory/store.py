"""What holds between memories: one is indexed with the words of the exchange before it, which may change meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables import Bond, Memory, new_id


def outdated() -> str:
    """A `Memory.encoder` by which the row waits to be indexed anew.

    Never the same twice, so that whoever indexes the row meanwhile can tell that it was changed again.
    """
    return f"outdated {new_id()}"


async def lock_bonds(db: AsyncSession, memories: Iterable[Memory]) -> list[Bond]:
    """The bonds that memories belong to, locked, before the memories are, as by turns; by everyone in one order."""
    bonds: list[Bond] = []
    for owner, user, character_id in sorted({(one.owner, one.user, one.character_id) for one in memories}):
        mine = (Bond.owner == owner, Bond.user == user, Bond.character_id == character_id)
        locked = select(Bond).where(*mine).with_for_update().execution_options(populate_existing=True)
        bonds += await db.scalars(locked)
    return bonds


async def current_text(db: AsyncSession, memory_id: int | None) -> str | None:
    """What a memory says, None when there is none. Lasts until the transaction ends for who has locked the bond."""
    return await db.scalar(select(Memory.text).where(Memory.id == memory_id))
