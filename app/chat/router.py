"""/v1: chat completions and the list of models. Parses, primes the stream, frames it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response

from app.auth import CallerDep
from app.characters.store import find, visible
from app.chat.admit import admit, charge, until_said
from app.chat.ask import Ask, Turn
from app.chat.protocol import ChatRequest, chunk, completion, refuse_unsupported, usage
from app.chat.reading import read_ask, read_sampling
from app.chat.speak import Speech
from app.chat.sse import DONE, EventStream, event
from app.chat.turn import prepare, take_turn
from app.errors import NotFound
from app.http import engine_status, openai_error
from app.metrics import TOKENS
from app.services import Services, ServicesDep
from app.tables import Character, new_id
from models.engine import EngineError, Finish
from models.scene import Message

log = logging.getLogger("moodline")
router = APIRouter(prefix="/v1", tags=["OpenAI"])
PREFIX = "char/"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply under way: its pieces, and the speech they make."""

    model: str
    pieces: AsyncGenerator[str, None]
    speech: Speech
    headers: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"chatcmpl-{new_id()}")
    created: int = field(default_factory=lambda: int(time.time()))


@router.post("/chat/completions")
async def complete(
    body: ChatRequest,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    x_session_id: Annotated[str | None, Header(description="The session to continue.", max_length=64)] = None,
) -> Response:
    """Talk with a character (`char/<slug>`), or with the bare language model."""
    refuse_unsupported(body)
    place = await admit(services, request, caller, body.user or "", body.n or 1)
    with place.leave as leave:
        if body.model.startswith(PREFIX):
            ask = read_ask(body, caller, services, body.model.removeprefix(PREFIX), x_session_id)
            turn, speech = await _prepare(services, ask, place.waited), Speech()
            headers = {"x-moodline-turn": turn.id, "x-session-id": turn.session_id} if ask.store else {}
            answer = Answer(body.model, take_turn(services, turn, speech), speech, headers)
        else:
            answer = await _bare(services, body, caller.owner)
        leave.callback(charge, services, caller, [answer.speech])
        answer = replace(answer, pieces=until_said(leave.pop_all(), answer.pieces))
    # Waiting for the first piece makes an engine that is down a 503 instead of a broken 200.
    first = await anext(answer.pieces, "")
    if body.stream:
        return EventStream(_events(answer, first, body), answer.pieces, answer.headers)
    async with aclosing(answer.pieces) as rest:
        text = first + "".join([piece async for piece in rest])
    _count(answer.speech.finish)
    return JSONResponse(
        completion(answer.id, answer.created, answer.model, text, answer.speech.finish), headers=answer.headers
    )


@router.get("/models")
async def list_models(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The characters the caller can talk with, then the bare language model."""
    async with services.db.read() as db:
        rows = await db.scalars(visible(caller).order_by(Character.slug))
        characters = [_model(PREFIX + row.slug, int(row.created_at.timestamp())) for row in rows]
    return {"object": "list", "data": [*characters, _model(services.engine.name, 0)]}


@router.get("/models/{name:path}")
async def read_model(name: str, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """One of them."""
    if name == services.engine.name:
        return _model(name, 0)
    if not name.startswith(PREFIX):
        raise _unknown_model(name)
    async with services.db.read() as db:
        try:
            row = await find(db, caller, name.removeprefix(PREFIX))
        except NotFound:
            raise _unknown_model(name) from None
    return _model(name, int(row.created_at.timestamp()))


async def _prepare(services: Services, ask: Ask, waited: float) -> Turn:
    """The turn; a character that isn't there is, at this door, a model that isn't."""
    try:
        return await prepare(services, ask, waited)
    except NotFound as error:
        raise _unknown_model(PREFIX + ask.slug) if error.code == "character_not_found" else error from None


async def _bare(services: Services, body: ChatRequest, owner: str) -> Answer:
    """The language model itself, without a character: messages pass through untouched."""
    if body.model != services.engine.name:
        raise _unknown_model(body.model)
    await services.engine.check()
    messages = [
        Message("system" if message.role == "developer" else message.role, message.text) for message in body.messages
    ]
    speech = Speech()

    async def pieces() -> AsyncGenerator[str, None]:
        async with aclosing(services.engine.stream(messages, read_sampling(body, services), owner=owner)) as events:
            async for piece in events:
                if isinstance(piece, Finish):
                    speech.finish = piece
                else:
                    speech.said += piece
                    yield piece

    return Answer(body.model, pieces(), speech)


async def _events(answer: Answer, first: str, body: ChatRequest) -> AsyncGenerator[str, None]:
    """The stream: role, text, finish, usage if asked for, and always one [DONE], also after an error."""
    counted = body.stream_options is not None and body.stream_options.include_usage

    def framed(delta: dict[str, Any], reason: str | None = None) -> str:
        extra = {"usage": None} if counted else {}
        return event(chunk(answer.id, answer.created, answer.model, delta, reason) | extra)

    try:
        yield framed({"role": "assistant", "content": ""})
        if first:
            yield framed({"content": first})
        async for piece in answer.pieces:
            yield framed({"content": piece})
        _count(answer.speech.finish)
        yield framed({}, answer.speech.finish.reason if answer.speech.finish else "stop")
        if counted:
            last = chunk(answer.id, answer.created, answer.model, {})
            yield event(last | {"choices": [], "usage": usage(answer.speech.finish)})
    except EngineError as error:
        log.warning("%s broke off: %s", answer.id, error)
        status, code = engine_status(error)
        yield event(openai_error(status, str(error), code))
    yield DONE


def _count(finish: Finish | None) -> None:
    if finish:
        TOKENS.labels("prompt").inc(finish.prompt_tokens)
        TOKENS.labels("cached").inc(finish.cached_tokens)
        TOKENS.labels("completion").inc(finish.completion_tokens)


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "moodline"}


def _unknown_model(name: str) -> NotFound:
    return NotFound(
        f"The model {name!r} does not exist or is not yours. GET /v1/models lists what you can ask for.",
        code="model_not_found",
        param="model",
    )
