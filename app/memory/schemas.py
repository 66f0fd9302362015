"""Bodies of the memory routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from app.body import Body
from app.tables import Memory
from app.text import STORABLE
from retrieval.emotion import EMOTIONS


class MemoryOut(BaseModel):
    """An exchange that can be recalled. `emotion` holds intensities, 0..1, of the eight dimensions."""

    id: int
    character: str
    user: str
    session_id: str | None
    text: str
    emotion: dict[str, float]
    importance: float
    pinned: bool
    retired: bool = Field(description="It rests: the exchange is on no current branch, so it isn't recalled.")
    uses: int = Field(description="How often it was recalled into a prompt.")
    created_at: datetime


class MemoryChange(Body):
    """What to change of a memory; what is left out stays."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000), STORABLE] | None = (
        None
    )
    pinned: bool | None = None
    importance: Annotated[float, Field(ge=0, le=1)] | None = None


class MemoryPage(BaseModel):
    """One page of memories, newest first; pass `next` as `before`."""

    items: list[MemoryOut]
    next: int | None


def show(memory: Memory, slug: str) -> MemoryOut:
    """A memory as people see it."""
    emotion = {name: round(float(value), 3) for name, value in zip(EMOTIONS, memory.emotion, strict=True)}
    return MemoryOut(
        id=memory.id,
        character=slug,
        user=memory.user,
        session_id=memory.session_id,
        text=memory.text,
        emotion=emotion,
        importance=memory.importance,
        pinned=memory.pinned,
        retired=memory.retired,
        uses=memory.uses,
        created_at=memory.created_at,
    )
