"""Bodies of the session routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.body import WHOLE, Body
from app.text import STORABLE

User = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), STORABLE]


class SessionCreate(Body):
    """Begin a conversation; the character's greeting, if it has one, is its first message."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"character": "harbour-cat", "user": "ana", "greeting": 0}]}
    )

    character: Annotated[str, StringConstraints(max_length=100), STORABLE]
    user: User = ""
    greeting: Annotated[int, Field(ge=0, description="0 is the greeting, 1 the first alternate, and so on."), WHOLE] = 0


class MessageOut(BaseModel):
    """A message of a conversation. `siblings` are the other versions: edits, swipes, branches."""

    id: str
    parent_id: str | None
    role: str
    text: str
    outcome: str = Field(description="finished, hung_up (the client left early) or failed")
    turn_id: str | None = Field(description="GET /api/turns/{turn_id}/trace explains it.")
    siblings: list[str]
    created_at: datetime


class SessionOut(BaseModel):
    """A conversation."""

    id: str
    character: str
    user: str
    title: str
    messages: int
    created_at: datetime
    updated_at: datetime


class SessionRead(SessionOut):
    """A conversation with the messages of its current branch, oldest first."""

    branch: list[MessageOut]


class SessionPage(BaseModel):
    """One page of conversations, the latest first; pass `next` as `before`."""

    items: list[SessionOut]
    next: str | None
