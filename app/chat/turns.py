"""/api/turns: turns under way and those that ended lately; see, resume, cancel."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import Response
from sqlalchemy import update

from app.auth import CallerDep
from app.chat import progress
from app.chat.ask import Mode
from app.chat.follow import More, ended, follow, tell
from app.chat.progress import TurnOut
from app.chat.sse import EventStream, event
from app.chat.under_way import UnderWayDep
from app.services import ServicesDep
from app.tables import TurnRecord

router = APIRouter(prefix="/api/turns", tags=["turns"])

END = "end"
"""The id of the last event: whoever has seen it has seen all."""

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`turn` names it, each `delta` has more `text`, `end` is the turn as it ended.",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "event": {"enum": ["turn", "delta", "end"]},
                        "id": {"type": "string"},
                        "data": {"type": "string"},
                    },
                    "required": ["event", "data"],
                }
            }
        },
    },
    204: {"description": "`Last-Event-ID` is the end's: there is nothing left to tell."},
}


@router.get("/{turn_id}")
async def read(turn_id: str, caller: CallerDep, services: ServicesDep, under_way: UnderWayDep) -> TurnOut:
    """A turn: whether it still runs, and what it has said so far. The header `x-moodline-turn` names it."""
    return await tell(services, under_way, caller.owner, turn_id)


@router.post("/{turn_id}/cancel")
async def cancel(turn_id: str, caller: CallerDep, services: ServicesDep, under_way: UnderWayDep) -> TurnOut:
    """End a turn now, whichever process speaks it; what it has said is kept. One that has ended stays as it is."""
    running = under_way.find(caller.owner, turn_id)
    if running:
        running.stop("cancelled")
        await running.over()
    async with services.db.write() as db:
        row = await progress.read(db, caller.owner, turn_id)
        if row.state == "running":
            await db.execute(update(TurnRecord).where(TurnRecord.id == turn_id).values(cancel=True))
    return await ended(services, under_way, caller.owner, turn_id)


@router.get("/{turn_id}/events", response_class=Response, responses=EVENTS)
async def events(
    turn_id: str,
    caller: CallerDep,
    services: ServicesDep,
    under_way: UnderWayDep,
    last_event_id: Annotated[
        str, Header(description="The last `id:` that arrived.", pattern=r"^(end|[0-9]{0,18})$")
    ] = "",
) -> Response:
    """The rest of a turn as a stream, from where the client stopped; also after it has ended, from any process."""
    if last_event_id == END:
        return Response(status_code=204)
    with ExitStack() as leave:
        if caller.limits:
            services.limits.open_follower(caller.limits)
            leave.callback(services.limits.close_follower, caller.limits)
        out = await tell(services, under_way, caller.owner, turn_id)
        steps = follow(services, under_way, caller.owner, turn_id, int(last_event_id or 0), seen=out)
        return EventStream(
            told(turn_id, out.session_id, out.mode, steps),
            steps,
            {"x-moodline-turn": turn_id, "x-session-id": out.session_id},
            leave.pop_all(),
        )


async def told(
    turn_id: str, session_id: str, mode: Mode, steps: AsyncGenerator[More | TurnOut, None], **who: str
) -> AsyncGenerator[str, None]:
    """The events of a turn: `turn` names it, in a group also `who` speaks; each `delta` has more text, and `end` tells
    how it ended."""
    yield event({"id": turn_id, "session_id": session_id, "mode": mode} | who, name="turn")
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, TurnOut):
                yield event(step.model_dump(mode="json"), name="end", number=END)
            elif step.text:
                yield event({"text": step.text}, name="delta", number=str(step.at))
            else:
                yield ": still here\n\n"
