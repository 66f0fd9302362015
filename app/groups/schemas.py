"""Bodies of the group routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.body import Body
from app.characters.schemas import Name, Prose, Slug
from app.groups.order import TALKATIVENESS, Order
from app.text import STORABLE
from models.scene import Language

MOST_MEMBERS = 50
Talkativeness = Annotated[float, Field(ge=0, le=1)]


class MemberFields(Body):
    """How a member takes part: `talkativeness` is 0 (speaks when named) to 1 (always), and a muted one only listens."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"talkativeness": 0.8, "muted": False}]})

    talkativeness: Talkativeness | None = Field(
        None, description=f"Unset: what it was, else what its card says, else {TALKATIVENESS}."
    )
    muted: bool = False


class MemberIn(MemberFields):
    """A member, by its character's slug."""

    character: Annotated[str, StringConstraints(max_length=100), STORABLE]


class GroupFields(Body):
    """What a group is. `members` stand in the order of the list; a `scenario` takes the place of the members' own.

    `order` says whose turn it is after the user: whoever is named and feels like it (`natural`), all by turns (`list`),
    one who has not spoken yet (`pooled`), or whoever the client names (`manual`). With `again` a member may answer
    itself.
    """

    name: Name
    language: Language = "en"
    scenario: Prose = ""
    order: Order = "natural"
    again: bool = False
    members: list[MemberIn] = Field(default=[], max_length=MOST_MEMBERS)

    @model_validator(mode="after")
    def _members_differ(self) -> Self:
        slugs = [member.character for member in self.members]
        if len(set(slugs)) != len(slugs):
            raise ValueError("a character is in the list twice")
        return self


class GroupCreate(GroupFields):
    """A new group."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "slug": "harbour",
                    "name": "The harbour",
                    "scenario": "Night falls over the quay.",
                    "members": [{"character": "harbour-cat", "talkativeness": 0.9}, {"character": "chai-mi"}],
                }
            ]
        }
    )

    slug: Slug


class MemberOut(BaseModel):
    """A member as it is now; `name` is what it goes by."""

    character: str
    name: str
    talkativeness: float
    muted: bool
    joined_at: datetime


class GroupOut(BaseModel):
    """A group as it is now. `revision` is its ETag, `model` what an OpenAI client asks for."""

    slug: str
    model: str
    name: str
    language: Language
    scenario: str
    order: Order
    again: bool
    members: list[MemberOut]
    revision: int
    created_at: datetime
    updated_at: datetime


class GroupPage(BaseModel):
    """One page of groups, by slug; pass `next` as `after` for those that follow."""

    items: list[GroupOut]
    next: str | None
