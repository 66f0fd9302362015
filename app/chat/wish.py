"""What a native turn asks for, and where in its session's tree it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from app.auth import Caller
from app.body import WHOLE, Body
from app.chat.ask import Ask, Mode
from app.chat.checks import check_request
from app.chat.protocol import ChatRequest, Stop
from app.chat.reading import read_ask
from app.errors import BadRequest, Unprocessable
from app.groups.store import GROUP
from app.services import Services
from app.sessions.find import find_message, find_own, speakers
from app.settings import Layout, OnDisconnect, Strategy
from app.tables import Character, Message
from app.text import STORABLE, Text
from models.scene import Language
from models.scene import Message as Said

Slug = Annotated[str, StringConstraints(max_length=100), STORABLE]
SAMPLING = {
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
}
EXTENSIONS = {"strategy", "layout", "window", "stage", "persona"}
INSTRUCTIONS: dict[Language, str] = {
    "en": (
        "[This once you are not {char}. Write what {user} says next, in {user}'s own voice and manner as in this talk, "
        "in the first person. Write only that message, nothing that {char} says or does.]"
    ),
    "zh": (
        "【仅此一次，你不是{char}。请以{user}的口吻和习惯，用第一人称写出{user}接下来要说的话。"
        "只写这一条，不要写{char}的言行。】"
    ),
}
"""What the language model is told when it is to write for the user."""


class TurnRequest(Body):
    """A turn: `say` something, `regenerate` or `continue` a reply, or `impersonate`: write what the user might say.

    In a group, `speak` lets members talk although the user says nothing.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "say", "text": "Is it late?"}]})

    mode: Mode = "say"
    text: Text = Field("", description="What the user says; for `say` only.")
    message_id: Annotated[str, StringConstraints(max_length=32), STORABLE] | None = Field(
        None, description="What it follows, or is another version of. Unset: the end of the current branch."
    )
    stream: bool = False
    on_disconnect: OnDisconnect | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1), WHOLE] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stop: Annotated[list[Stop], Field(max_length=16)] | None = None
    strategy: Strategy | None = None
    layout: Layout | None = None
    window: Annotated[int, Field(ge=2, le=1000), WHOLE] | None = None
    stage: Annotated[str, StringConstraints(max_length=100), STORABLE] | None = None
    persona: Annotated[str, StringConstraints(max_length=100), STORABLE] | None = None
    speakers: Annotated[list[Slug], Field(max_length=50)] | None = Field(
        None, description="In a group, the slugs of those who speak, in this order. Unset: by the group's order."
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Whose session it is and with whom, and the message that the turn is about; None where nothing was said yet.

    `names` are those that the two are called by. `group` is whom it is with, where that is a group.
    """

    slug: str
    user: str
    language: Language
    names: dict[str, str]
    message: Message | None
    group: Character | None = None


async def find_target(services: Services, caller: Caller, session_id: str, wish: TurnRequest) -> Target:
    """The session and the message of a turn.

    Raises:
        NotFound: they aren't the caller's.
        BadRequest: the user has no such persona.
    """
    async with services.db.read() as db:
        session, character = await find_own(db, caller, session_id)
        wanted = wish.message_id or session.leaf_id
        message = await find_message(db, session, wanted) if wanted else None
        user, name = await speakers(db, session, character, wish.persona)
    names = {"char": name, "user": user}
    group = character if character.kind == GROUP else None
    return Target(character.slug, session.user, character.document["language"], names, message, group)


def read_wish(wish: TurnRequest, caller: Caller, services: Services, session_id: str, target: Target) -> Ask:
    """What a native turn asks for.

    Raises:
        BadRequest: there is no text to say, or too much.
        Unprocessable: the message it is about can't be gone on from in this way.
    """
    _check_text(wish, services.settings.max_message_chars)
    if wish.speakers is not None and target.group is None:
        raise BadRequest("`speakers` is for sessions of groups.", param="speakers")
    said = wish.text or "…"
    chat = ChatRequest.model_validate(
        {
            "model": f"char/{target.slug}",
            "user": target.user,
            "messages": [{"role": "user", "content": said}],
            "moodline": wish.model_dump(include=EXTENSIONS, exclude_none=True),
        }
        | wish.model_dump(include=SAMPLING, exclude_none=True)
    )
    check_request(chat, services.engine)
    return _aimed(wish.mode, read_ask(chat, caller, services, target.slug, session_id), target)


def _aimed(mode: Mode, ask: Ask, target: Target) -> Ask:
    """The ask at its place in the tree."""
    message = target.message
    if mode == "say":
        return replace(ask, below=message.id if message else None)
    if mode == "impersonate":
        told = INSTRUCTIONS[target.language].format(**target.names)
        return replace(
            ask, below=message.id if message else None, messages=(Said("user", told),), store=False, as_user=True
        )
    if mode == "speak" and target.group is None:
        raise Unprocessable("`speak` is for groups; a character answers what the user says.", param="mode")
    if message is None:
        raise Unprocessable(f"Nothing was said yet that could be taken to {mode}.", code="nothing_to_answer")
    if mode == "speak" or (mode == "regenerate" and message.role == "user"):
        return replace(ask, below=message.id, messages=())
    if message.role == "user" or message.parent_id is None:
        which = "answers no message of the user's" if message.role != "user" else "is the user's"
        raise Unprocessable(
            f"There is nothing to {mode}: this message {which}.", code="nothing_to_answer", param="message_id"
        )
    begun = message.text if mode == "continue" else ""
    return replace(ask, below=message.parent_id, messages=(), begun=begun)


def _check_text(wish: TurnRequest, longest: int) -> None:
    if wish.mode == "say" and not wish.text.strip():
        raise BadRequest("To say something, send it as `text`.", code="empty_message", param="text")
    if wish.mode != "say" and wish.text:
        raise BadRequest(f"`text` is for `say` only, not for `{wish.mode}`.", param="text")
    if len(wish.text) > longest:
        raise BadRequest(
            f"The text has {len(wish.text):,} characters; the limit is {longest:,} (MOODLINE_MAX_MESSAGE_CHARS).",
            code="message_too_long",
            param="text",
        )
