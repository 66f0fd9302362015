"""Bodies of the lorebook routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.body import WHOLE, Body
from app.characters.schemas import LoreEntryIn, LoreSettings, Name
from app.lore.entry import CardField
from app.text import STORABLE, JsonObject, Text

MAX_CALLS = 64
MAX_ENTRIES = 5_000
Short = Annotated[str, StringConstraints(max_length=500), STORABLE]


class Said(BaseModel):
    """A message of SillyTavern's chat."""

    model_config = ConfigDict(strict=True)

    name: Short = ""
    is_user: bool = False
    mes: Text = ""


class AuthorNote(BaseModel):
    """The author's note: `scan`: keys see it; `insert`: it is due on this turn."""

    model_config = ConfigDict(strict=True)

    value: Text = ""
    scan: bool = False
    insert: bool = True


class Run(BaseModel):
    """A chat to run world info over, in SillyTavern's terms.

    `settings` are SillyTavern's, `world_info_depth` and so on. `calls` tells how many messages the chat has at each
    evaluation; without it there is one, at all messages. `timed` are timers to begin with, in the form of the answer.
    `draws` are numbers in [0, 1), or for each call its numbers, or the draws of an answer; where `expected` has some
    and `draws` is absent, they are taken from there. `edits` change the book before a call. `compatible`: with all of
    SillyTavern's peculiarities; without, as turns here do it. `fields` are parts of the card that entries may match.
    """

    model_config = ConfigDict(extra="ignore", strict=True)

    settings: JsonObject = {}
    char: Short = "Character"
    user: Short = "User"
    char_file: Short | None = Field(default=None, description="What character filters look at; `char` without it.")
    char_tags: list[Text] = Field(default=[], max_length=1000)
    max_context: float = Field(default=8192, ge=0, le=10**9, allow_inf_nan=False)
    author_note: AuthorNote = AuthorNote()
    injections: list[JsonObject] = Field(default=[], max_length=100)
    external: list[Annotated[int, WHOLE] | Text] = Field(
        default=[], max_length=10_000, description="Uids that were found by meaning."
    )
    messages: list[Said] = Field(default=[], max_length=5_000)
    calls: list[Annotated[int, Field(ge=0), WHOLE]] | None = Field(default=None, max_length=MAX_CALLS)
    dry_run: list[bool] = Field(default=[], max_length=MAX_CALLS)
    edits: list[JsonObject] = Field(default=[], max_length=1000)
    draws: list[float | JsonObject | list[float | JsonObject]] | None = Field(default=None, max_length=100_000)
    expected: list[dict[str, Any]] = Field(default=[], description="Of a recorded run: only its draws are looked at.")
    timed: JsonObject | None = None
    compatible: bool = True
    fields: dict[CardField, Text] = {}
    trigger: Short = "normal"
    greeting: Annotated[int, WHOLE] | None = None
    stage: Short = Field(default="", description="The bond's, for entries that speak at some stages only.")
    seed: Annotated[int, WHOLE] = Field(default=0, description="Of the draws that follow those given.")


class Activate(Run):
    """A run of world info in SillyTavern's terms. A recorded run can be posted as it is; what is no field is ignored.

    `book` or `books` are native world-info documents; a book of `books` may have a `name`, a `source` (`global`,
    `character`, `chat`) and `also_global`. Without any there are no entries. Tokens are a quarter of a text's bytes.
    """

    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "book": {"entries": {"0": {"uid": 0, "key": ["moat"], "content": "Eels live in the moat."}}},
                    "settings": {"world_info_depth": 2, "world_info_budget": 25},
                    "char": "Mara",
                    "user": "Ana",
                    "messages": [{"name": "Ana", "is_user": True, "mes": "What lives in the moat?"}],
                }
            ]
        },
    )

    book: JsonObject | None = None
    books: list[JsonObject] | None = Field(default=None, max_length=50)


class Activated(BaseModel):
    """What each call came to, in the form of a recorded run's `expected`, with a verdict on every entry."""

    results: list[dict[str, Any]]


class LorebookFields(Body):
    """What a lorebook is. Without `user` it is for all users, without `character` for all characters."""

    name: Name
    user: Annotated[str, StringConstraints(max_length=200), STORABLE] | None = None
    character: Annotated[str, StringConstraints(max_length=100), STORABLE] | None = Field(
        default=None, description="The slug of the one character that it is for."
    )
    enabled: bool = True
    settings: LoreSettings = LoreSettings()


class LorebookCreate(LorebookFields):
    """A new lorebook. A `shared` one is everyone's on this server and needs an admin key."""

    shared: bool = False
    entries: list[LoreEntryIn] = Field(default=[], max_length=MAX_ENTRIES)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "The harbour",
                    "settings": {"recursive": True},
                    "entries": [
                        {"keys": ["mackerel", "/gal+ey/i"], "content": "No mackerel in the galley.", "sticky": 4}
                    ],
                }
            ]
        }
    )


class LorebookPut(LorebookFields):
    """A lorebook as it shall be; without `entries` they stay."""

    entries: list[LoreEntryIn] | None = Field(default=None, max_length=MAX_ENTRIES)


class LorebookPatch(Body):
    """What shall be otherwise."""

    name: Name | None = None
    enabled: bool | None = None
    settings: LoreSettings | None = None


class LorebookOut(LorebookFields):
    """A lorebook as it is now. `revision` is its ETag; `entries` is how many it has."""

    model_config = ConfigDict(extra="ignore")

    id: str
    shared: bool
    revision: int
    entries: int
    created_at: datetime
    updated_at: datetime


class LorebookPage(BaseModel):
    """One page of lorebooks; pass `next` as `after` for the one that follows."""

    items: list[LorebookOut]
    next: str | None


class LorebookEntryOut(LoreEntryIn):
    """An entry of a lorebook."""

    id: str


class BookFile(BaseModel):
    """SillyTavern's world-info JSON, or a book as cards have it: alone, or as the `data` of a `lorebook_v3`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "spec": "lorebook_v3",
                    "data": {"name": "Harbour", "entries": [{"keys": ["moat"], "content": "Eels live in the moat."}]},
                }
            ]
        },
    )

    entries: dict[str, JsonObject] | list[JsonObject] | None = None
    spec: str | None = None
    data: JsonObject | None = None


Entries = Annotated[list[LoreEntryIn], Field(min_length=1, max_length=MAX_ENTRIES)]


class Order(Body):
    """The ids of entries in the order in which they shall stand, before all others."""

    ids: list[Annotated[str, StringConstraints(max_length=20)]] = Field(max_length=MAX_ENTRIES)
