"""Bodies of the session routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.body import WHOLE, Body
from app.text import STORABLE

User = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), STORABLE]


class SessionCreate(Body):
    """Begin a conversation with a character, or with a group: `group/<slug>`. Greetings are its first messages."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"character": "harbour-cat", "user": "ana", "greeting": 0}]}
    )

    character: Annotated[str, StringConstraints(max_length=100), STORABLE]
    user: User = ""
    greeting: Annotated[int, Field(ge=0, description="0 is the greeting, 1 the first alternate, and so on."), WHOLE] = 0


class SessionChange(Body):
    """What to change of a conversation; what is left out stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "The storm", "note": "It is night. Be brief."}]}
    )

    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), STORABLE] | None = None
    pinned: bool | None = Field(default=None, description="Pinned conversations come first in the list.")
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000), STORABLE] | None = Field(
        default=None, description="The author's note, told to the language model; {{char}} and {{user}} are filled in."
    )
    note_depth: Annotated[
        Annotated[int, Field(ge=0, le=1000), WHOLE] | None,
        Field(description="How many messages before the end the note is told."),
    ] = None


class MessageChange(Body):
    """Another text for a message; the version before stays beside it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Is the lamp out?", "following": "keep"}]})

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), STORABLE]
    following: Literal["keep", "drop"] = Field(
        default="keep", description="Whether what followed it follows the new version, too, or stays with the old one."
    )


class MessageId(Body):
    """Which message."""

    message_id: str = Field(max_length=32)


class ForkFrom(Body):
    """Up to which message a conversation is copied: the last of the current branch if it is left out."""

    message_id: str | None = Field(default=None, max_length=32)


class Pin(Body):
    """Whether what is remembered of a message is always recalled."""

    pinned: bool


class MessageOut(BaseModel):
    """A message of a conversation. `siblings` are the other versions: edits, swipes, branches."""

    id: str
    parent_id: str | None
    origin_id: str | None = Field(description="The message it is a copy of: of a fork, an edit, a resent history.")
    role: str
    name: str | None
    speaker: str | None = Field(description="In a group, the slug of the member who said it.")
    heard_by: list[str] | None = Field(description="In a group, the slugs of the members who were there.")
    text: str
    outcome: str = Field(description="finished, hung_up (the client left early) or failed")
    turn_id: str | None = Field(description="GET /api/turns/{turn_id}/trace explains it.")
    active: bool = Field(description="It is on the current branch.")
    pinned: bool = Field(description="What is remembered of it is always recalled.")
    siblings: list[str]
    created_at: datetime
    deleted_at: datetime | None


class SessionOut(BaseModel):
    """A conversation. `revision` is its ETag."""

    id: str
    character: str
    user: str
    title: str
    pinned: bool
    note: str
    note_depth: int
    revision: int
    messages: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class SessionRead(SessionOut):
    """A conversation with the messages of its current branch, oldest first."""

    branch: list[MessageOut]


class SessionImported(SessionRead):
    """A conversation that came out of a file."""

    left_out: int = Field(description="Messages that have no place here: empty ones, and those that were hidden.")


class SessionTree(SessionOut):
    """A conversation with the messages of all its branches, those above before those below."""

    tree: list[MessageOut]


class SessionPage(BaseModel):
    """One page of conversations, the pinned and then the latest first; pass `next` as `before`."""

    items: list[SessionOut]
    next: str | None
