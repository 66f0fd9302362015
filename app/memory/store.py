"""What holds between memories: one is indexed with the words of the exchange before it, which may change meanwhile."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables import Memory, new_id


def outdated() -> str:
    """A `Memory.encoder` by which the row waits to be indexed anew.

    Never the same twice, so that whoever indexes the row meanwhile can tell that it was changed again.
    """
    return f"outdated {new_id()}"


async def current_text(db: AsyncSession, memory_id: int | None) -> str | None:
    """What a memory says, None when there is none. Lasts until the transaction ends for who has locked the bond."""
    return await db.scalar(select(Memory.text).where(Memory.id == memory_id))
