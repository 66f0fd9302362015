"""The OpenAI door of a group: the model `group/<slug>`, whose reply has the line of each member that speaks.

A reply is one message to a client, so a name stands before every line, as in SillyTavern's group chats. What a client
sends back is parted at those names again (`spoken`), and so finds its conversation by what was said.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.answer import Answer
from app.chat.calls import is_talk
from app.chat.piece import Piece
from app.chat.progress import TurnOut
from app.chat.protocol import ChatMessage, ChatRequest
from app.chat.reading import read_ask
from app.chat.room import lowered
from app.chat.running import Running
from app.chat.speak import Speech
from app.chat.trace import summary
from app.errors import BadRequest
from app.groups.cast import Cast
from app.groups.round import Round, begin_round
from app.groups.spoken import SEPARATOR, labelled, lines_of
from app.groups.stage import Stage
from app.groups.store import PREFIX, cast_of, find_group
from app.sessions.locate import locate
from app.sessions.store import Scope
from app.sessions.told import Opening
from app.tables import Message as Row
from app.tables import Session
from models.frame import FRAMES
from models.scene import Message
from models.thoughts import without_thoughts

log = logging.getLogger("moodline")


async def answer_in_group(stage: Stage, body: ChatRequest, session_id: str | None) -> Answer:
    """An answer that is about to be spoken by one member or several.

    Raises:
        NotFound: no such group or session.
        BadRequest: what a group can't do is asked for, or nobody in it can speak.
    """
    _check(body)
    begun = await _round(stage, body, session_id)
    if not begun.speakers:
        raise BadRequest("Nobody in the group can speak: everyone is muted or gone.", code="nobody_speaks")
    first = await stage.begin(begun.nth(0, begun.place))
    whole, runs = Speech(), [first]
    headers = {"x-moodline-speakers": ",".join(begun.cast.slugs[one] for one in begun.speakers)}
    if begun.ask.store:
        headers |= {"x-moodline-turn": first.turn.id, "x-session-id": first.turn.session_id}
    return Answer(
        body.model,
        stage.services.engine.name,
        _pieces(stage, begun, runs, whole),
        [whole],
        logprobs=bool(body.logprobs),
        extra=(lambda: {"moodline": _summary(runs)}) if body.moodline.trace else dict,
        headers=headers | lowered(body.reply_tokens, first.turn.ask.sampling),
    )


def _check(body: ChatRequest) -> None:
    refused = {"n": (body.n or 1) > 1, "tools": body.tools, "response_format": body.response_format}
    for name, asked in refused.items():
        if asked:
            raise BadRequest(
                f"`{name}` is for one who speaks; a group's reply may have several. Ask a character for it.",
                code="unsupported_parameter",
                param=name,
            )


async def _round(stage: Stage, body: ChatRequest, session_id: str | None) -> Round:
    services, caller = stage.services, stage.caller
    ask = read_ask(body, caller, services, body.model, session_id)
    async with services.db.read() as db:
        cast = await cast_of(db, await find_group(db, caller, body.model.removeprefix(PREFIX)))
        talk = Scope(caller.owner, ask.user, cast.id)
        said = talk_of(body.messages, await _names(db, talk, cast), cast.id)
        said, begun, speaker = _going_on(said, cast)
        opening = Opening(cast.name, ask.user or FRAMES["en"].user)
        place = await locate(db, talk, said, ask.session_id, opening)
    named = [speaker] if speaker else _wanted(body)
    # An OpenAI client waits for an answer, also where a native one says by hand who speaks.
    order = "pooled" if cast.order == "manual" else cast.order
    return await begin_round(services, replace(ask, begun=begun), cast, place, named, order=order)


def talk_of(messages: Sequence[ChatMessage], names: dict[str, str], nobody: str) -> tuple[Message, ...]:
    """What was said, line by line; one that neither its text nor its `name` gives a speaker is `nobody`'s. Pure."""
    said: list[Message] = []
    for message in messages:
        if not is_talk(message) or not message.text.strip():
            continue
        if message.role == "user":
            said.append(Message("user", message.text))
        else:
            said += lines_of(without_thoughts(message.text), names, names.get(message.name or "", nobody))
    return tuple(said)


def _going_on(said: tuple[Message, ...], cast: Cast) -> tuple[tuple[Message, ...], str, str]:
    """What was said before the line that a client wants gone on with, that line, and its speaker's slug."""
    if said[-1].role == "user":
        return said, "", ""
    speaker = cast.slugs.get(getattr(said[-1], "speaker", ""))
    if speaker is None:
        raise BadRequest(
            "Nobody in the group said the last message; begin it with a member's name to have it gone on with.",
            param="messages",
        )
    return said[:-1], said[-1].content, speaker


def _wanted(body: ChatRequest) -> list[str] | None:
    wanted = [slug.strip() for slug in (body.moodline.speakers or "").split(",")]
    return [slug for slug in wanted if slug] or None


async def _names(db: AsyncSession, talk: Scope, cast: Cast) -> dict[str, str]:
    """Ids by the names that members go by, and went by in this user's talks with the group."""
    mine = (Session.owner == talk.owner, Session.user == talk.user, Session.character_id == talk.character_id)
    query = select(Row.name, Row.speaker_id).join(Session, Session.id == Row.session_id)
    rows = await db.execute(query.where(*mine, Row.speaker_id.is_not(None), Row.name.is_not(None)).distinct())
    return {row.name: row.speaker_id for row in rows} | {voice.name: voice.id for voice in cast.voices}


async def _pieces(stage: Stage, begun: Round, runs: list[Running], whole: Speech) -> AsyncGenerator[Piece, None]:
    """All that is said, a name before each line that is not gone on with; `runs` and `whole` are kept up to date."""
    async with aclosing(stage.turns(begun, runs[0])) as turns:
        async for one in turns:
            if isinstance(one, TurnOut):
                log.warning("%s could not speak: %s", one.speaker, one.error)
                return
            if one is not runs[-1]:
                runs.append(one)
            async with aclosing(_line(one, SEPARATOR if whole.said else "")) as pieces:
                async for piece in pieces:
                    whole.said += piece.text
                    yield piece
            _add(whole, one.speech)


async def _line(running: Running, between: str) -> AsyncGenerator[Piece, None]:
    """What one member says, its name before it; only what is visible has one, so that an engine that is down says
    nothing."""
    scene = running.turn.scene
    label = "" if scene.begun else between + labelled(scene.character, "")
    async with aclosing(running.pieces()) as pieces:
        async for piece in pieces:
            yield replace(piece, text=label + piece.text) if piece.text else piece
            label = "" if piece.text else label


def _add(whole: Speech, speech: Speech) -> None:
    """Count one line's tokens in the whole reply; how that ended is how its last line did."""
    finish, before = speech.finish, whole.finish
    if finish and before:
        finish = replace(
            finish,
            prompt_tokens=before.prompt_tokens + finish.prompt_tokens,
            completion_tokens=before.completion_tokens + finish.completion_tokens,
            cached_tokens=before.cached_tokens + finish.cached_tokens,
        )
    whole.finish = finish or before


def _summary(runs: Sequence[Running]) -> dict[str, Any]:
    return {"turns": [{"speaker": one.turn.ask.slug, **summary(one.turn, [one.speech])} for one in runs]}
