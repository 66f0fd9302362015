"""Bodies of the user routes."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class UserOut(BaseModel):
    """Someone who has talked, by the name that the app sends as `user`; those without one are the empty name."""

    user: str
    sessions: int
    messages: int
    memories: int
    characters: int = Field(description="How many characters a bond stands to.")
    last_at: datetime | None = Field(description="When a conversation of theirs changed last.")


class UserPage(BaseModel):
    """One page of users by name; pass `next` as `after` for the one that follows."""

    items: list[UserOut]
    next: str | None


class Erased(BaseModel):
    """What was taken away, rows by table."""

    user: str
    removed: dict[str, int]
