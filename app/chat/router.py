"""/v1: chat completions and the list of models. Parses, primes the stream, frames it."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response

from app.auth import Caller, CallerDep
from app.characters.store import visible
from app.chat.admit import admit, charge, until_said
from app.chat.answer import Answer, completion
from app.chat.ask import Ask, Mode, Turn
from app.chat.attendance import leave_of
from app.chat.bare import read_messages, speak_bare
from app.chat.checks import check_request
from app.chat.events import events
from app.chat.headers import with_headers
from app.chat.piece import Piece
from app.chat.protocol import ChatRequest
from app.chat.reading import is_task, read_ask, read_sampling
from app.chat.room import fitted_bare, lowered
from app.chat.shapes import ChatCompletion, ModelList, ModelOut
from app.chat.speak import Speech
from app.chat.sse import UNKEPT, EventStream
from app.chat.trace import summary
from app.chat.turn import prepare, take_turn
from app.chat.under_way import UnderWayDep
from app.connected import while_connected
from app.errors import BadRequest, NotFound
from app.groups.door import answer_in_group
from app.groups.stage import Stage
from app.groups.store import PREFIX as GROUPS
from app.groups.store import find_party
from app.groups.store import visible as groups_of
from app.keyed import SCOPE
from app.services import Services, ServicesDep
from app.tables import Character

router = APIRouter(prefix="/v1", tags=["OpenAI"])
PREFIX = "char/"


@router.post("/chat/completions", responses={200: {"model": ChatCompletion, "content": {"text/event-stream": {}}}})
async def complete(
    body: ChatRequest,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    under_way: UnderWayDep,
    x_session_id: Annotated[str | None, Header(description="The session to continue.", max_length=64)] = None,
) -> Response:
    """Talk with a character (`char/<slug>`), a group of them (`group/<slug>`), or with the bare language model.

    Every field of `moodline` can also come as a header, `X-Moodline-Strategy` and so on, and `user` as
    `X-Moodline-User`; the body's fields win.
    """
    check_request(body, services.engine)
    body = with_headers(body, request.headers)
    call = request.scope.get(SCOPE)
    if body.model.startswith(GROUPS) and not is_task(body):
        stage = Stage(services, under_way, request, caller, "say", body.moodline.on_disconnect)
        answer = await _in_group(stage, body, x_session_id)
        return await _respond(body, request, replace(answer, broke=call.broke.set) if call else answer)
    turn, answer = await _begin(body, request, caller, services, x_session_id)
    if turn:
        stateful = turn.ask.session_id is not None
        gone = leave_of(services, body.moodline.on_disconnect, stateful=stateful, keyed=call is not None)
        running = under_way.begin(turn, answer.speeches, answer.pieces, gone, mode=_mode(turn), call=call)
        answer = replace(answer, pieces=running.pieces())
    if call:
        answer = replace(answer, broke=call.broke.set)
    return await _respond(body, request, answer)


@router.get("/models", response_model=ModelList)
async def list_models(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The characters and groups the caller can talk with, then the bare language model."""
    async with services.db.read() as db:
        rows = await db.scalars(visible(caller).order_by(Character.slug))
        characters = [_model(PREFIX + row.slug, int(row.created_at.timestamp())) for row in rows]
        rows = await db.scalars(groups_of(caller).order_by(Character.slug))
        groups = [_model(row.slug, int(row.created_at.timestamp())) for row in rows]
    return {"object": "list", "data": [*characters, *groups, _model(services.engine.name, 0)]}


@router.get("/models/{name:path}", response_model=ModelOut)
async def read_model(name: str, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """One of them."""
    if name == services.engine.name:
        return _model(name, 0)
    row = await _find_party(services, caller, name)
    return _model(name, int(row.created_at.timestamp()))


async def _begin(
    body: ChatRequest, request: Request, caller: Caller, services: Services, session_id: str | None
) -> tuple[Turn | None, Answer]:
    """An answer that is about to be spoken, with its turn where a character speaks. Waits for its place before."""
    place = await admit(services, request, caller, body.user or "", body.n or 1)
    with place.leave as leave:
        if body.model.startswith(PREFIX) and not is_task(body):
            if body.moodline.speakers:
                raise BadRequest("`speakers` is for groups.", param="moodline.speakers")
            ask = read_ask(body, caller, services, body.model.removeprefix(PREFIX), session_id)
            turn = await _prepare(services, ask, place.waited)
            answer = _in_character(services, body, turn)
        else:
            turn, answer = None, await _bare(services, body, caller)
        leave.callback(charge, services, caller, answer.speeches)
        return turn, replace(answer, pieces=until_said(leave.pop_all(), answer.pieces))


async def _respond(body: ChatRequest, request: Request, answer: Answer) -> Response:
    """The answer as a stream of chunks, or whole."""
    # Waiting for the first piece makes an engine that is down a 503 instead of a broken 200.
    async with while_connected(request):
        first = await anext(answer.pieces, Piece())
    if body.store is False:
        answer = replace(answer, headers=answer.headers | UNKEPT)
    if body.stream:
        counted = body.stream_options is not None and bool(body.stream_options.include_usage)
        return EventStream(events(answer, first, counted=counted), answer.pieces, answer.headers)
    async with while_connected(request), aclosing(answer.pieces) as rest:
        pieces = [first, *[piece async for piece in rest]]
    return JSONResponse(completion(answer, pieces), headers=answer.headers)


async def _find_party(services: Services, caller: Caller, name: str) -> Character:
    if not name.startswith((PREFIX, GROUPS)):
        raise _unknown_model(name)
    async with services.db.read() as db:
        try:
            return await find_party(db, caller, name.removeprefix(PREFIX))
        except NotFound:
            raise _unknown_model(name) from None


def _in_character(services: Services, body: ChatRequest, turn: Turn) -> Answer:
    speeches = [Speech() for _ in range(turn.ask.choices)]
    headers = {"x-moodline-turn": turn.id, "x-session-id": turn.session_id} if turn.ask.store else {}
    return Answer(
        body.model,
        services.engine.name,
        take_turn(services, turn, speeches),
        speeches,
        logprobs=bool(body.logprobs),
        extra=(lambda: {"moodline": summary(turn, speeches)}) if body.moodline.trace else dict,
        headers=headers | lowered(body.reply_tokens, turn.ask.sampling),
    )


async def _prepare(services: Services, ask: Ask, waited: float) -> Turn:
    """The turn; a character that isn't there is, at this door, a model that isn't."""
    try:
        return await prepare(services, ask, waited)
    except NotFound as error:
        raise _unknown_model(PREFIX + ask.slug) if error.code == "character_not_found" else error from None


async def _in_group(stage: Stage, body: ChatRequest, session_id: str | None) -> Answer:
    try:
        return await answer_in_group(stage, body, session_id)
    except NotFound as error:
        raise _unknown_model(body.model) if error.code == "group_not_found" else error from None


def _mode(turn: Turn) -> Mode:
    """What a request that only sends its history is about."""
    if turn.ask.begun:
        return "continue"
    return "say" if turn.known.place.ids[-1] is None else "regenerate"


async def _bare(services: Services, body: ChatRequest, caller: Caller) -> Answer:
    """The language model itself, without a character, also for a task that a character was asked for."""
    if body.model != services.engine.name:
        await _find_party(services, caller, body.model)
    await services.engine.check()
    speeches = [Speech() for _ in range(body.n or 1)]
    messages = read_messages(body)
    sampling = await fitted_bare(services, messages, read_sampling(body, services))
    pieces = speak_bare(services, messages, sampling, caller.owner, speeches)
    headers = lowered(body.reply_tokens, sampling)
    return Answer(body.model, services.engine.name, pieces, speeches, logprobs=bool(body.logprobs), headers=headers)


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "moodline"}


def _unknown_model(name: str) -> NotFound:
    return NotFound(
        f"The model {name!r} does not exist or is not yours. GET /v1/models lists what you can ask for.",
        code="model_not_found",
        param="model",
    )
