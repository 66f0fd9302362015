"""/api/sessions/{id}/turns: say, regenerate, continue and impersonate, in a session of one's own."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.auth import CallerDep
from app.chat.admit import admit, charge, until_said
from app.chat.attendance import leave_of
from app.chat.follow import draft, follow, tell
from app.chat.progress import TurnOut
from app.chat.room import lowered
from app.chat.speak import Speech
from app.chat.sse import UNKEPT, EventStream
from app.chat.turn import prepare, take_turn
from app.chat.turns import EVENTS, told
from app.chat.under_way import UnderWayDep
from app.chat.wish import TurnRequest, find_target, read_wish
from app.connected import while_connected
from app.groups.native import take_round
from app.groups.stage import Stage
from app.keyed import SCOPE
from app.services import ServicesDep

router = APIRouter(prefix="/api/sessions", tags=["turns"])
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": TurnOut, **EVENTS[200]}}


@router.post("/{session_id}/turns", responses=_ANSWERS)
async def take(
    session_id: str,
    body: TurnRequest,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    under_way: UnderWayDep,
) -> Response:
    """Take a turn in a session; by itself it is finished when the client leaves.

    `say` adds a message of the user's and its reply; `regenerate` another reply; `continue` a longer version of one,
    whose continuation is the turn's `text`. `impersonate` writes what the user might say next and stores nothing. With
    `stream` the events are those of `GET /api/turns/{id}/events`, where a client that was cut off resumes.
    In a group members speak one after another: the stream has a `turn` and an `end` for each, the answer `following`.
    """
    target = await find_target(services, caller, session_id, body)
    if target.group:
        stage = Stage(services, under_way, request, caller, body.mode, body.on_disconnect)
        return await take_round(stage, body, session_id, target)
    place = await admit(services, request, caller, target.user)
    with place.leave as leave:
        ask = read_wish(body, caller, services, session_id, target)
        turn, speeches = await prepare(services, ask, place.waited), [Speech()]
        leave.callback(charge, services, caller, speeches)
        source = until_said(leave.pop_all(), take_turn(services, turn, speeches))
    call = request.scope.get(SCOPE)
    gone = leave_of(services, body.on_disconnect, stateful=ask.store, keyed=call is not None)
    running = under_way.begin(turn, speeches, source, gone, mode=body.mode, call=call)
    headers = {"x-session-id": session_id} | lowered(body.max_tokens, turn.ask.sampling)
    headers |= {"x-moodline-turn": turn.id} if ask.store else UNKEPT
    if running.speech.begun:
        await running.speech.begun
    if body.stream:
        steps = follow(services, under_way, caller.owner, turn.id, begun=running)
        return EventStream(told(turn.id, session_id, body.mode, steps), steps, headers)
    async with while_connected(request), running.listening():
        await running.over()
    if speeches[0].error:
        raise speeches[0].error
    out = await tell(services, under_way, caller.owner, turn.id) if ask.store else draft(running)
    return JSONResponse(out.model_dump(mode="json"), headers=headers)
