"""Bodies of the persona routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.body import Body
from app.characters.schemas import Name, Prose
from app.text import STORABLE

Slug = Annotated[str, StringConstraints(max_length=100), STORABLE]


class PersonaFields(Body):
    """Who a user is: `{{user}}` is the name, and the character is told the text.

    With `default` it holds wherever a request names none; with `character` only for that one, before those for all.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Ana", "text": "A ferry pilot, new to the harbour. Left-handed.", "default": True}]
        }
    )

    name: Name
    text: Prose = ""
    character: Slug | None = Field(default=None, description="A slug: only for this character.")
    default: bool = True


class PersonaOut(PersonaFields):
    """A persona as it is now. `revision` is its ETag."""

    id: str
    user: str
    revision: int
    updated_at: datetime


class PersonaPage(BaseModel):
    """Personas, by name; pass `next` as `after` for those that follow."""

    items: list[PersonaOut]
    next: str | None
