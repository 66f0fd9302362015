"""The turns of a round under way: each is admitted, prepared and run as any other turn, and follows the one before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request

from app.auth import Caller
from app.chat.admit import admit, charge, until_said
from app.chat.ask import Ask, Mode
from app.chat.attendance import leave_of
from app.chat.follow import draft, tell
from app.chat.progress import TurnOut, failure
from app.chat.running import Running
from app.chat.speak import Speech
from app.chat.turn import prepare, take_turn
from app.chat.under_way import UnderWay
from app.errors import AppError
from app.groups.round import Round, place_after, unstored
from app.keyed import SCOPE, Call
from app.services import Services
from app.settings import OnDisconnect
from app.tables import new_id, now
from models.engine import EngineError


@dataclass(frozen=True, slots=True)
class Stage:
    """What the turns of a round have in common: who asks, and what becomes of them when nobody listens."""

    services: Services
    under_way: UnderWay
    request: Request
    caller: Caller
    mode: Mode
    on_disconnect: OnDisconnect | None

    async def begin(self, ask: Ask, *, first: bool = True) -> Running:
        """Let one member's turn begin; its row is there then. Raises what `admit` and `prepare` do."""
        services, caller = self.services, self.caller
        place = await admit(services, self.request, caller, ask.user)
        with place.leave as leave:
            turn, speeches = await prepare(services, ask, place.waited), [Speech()]
            leave.callback(charge, services, caller, speeches)
            source = until_said(leave.pop_all(), take_turn(services, turn, speeches))
        call: Call | None = self.request.scope.get(SCOPE)
        stateful = ask.store and ask.session_id is not None
        gone = leave_of(services, self.on_disconnect, stateful=stateful, keyed=call is not None)
        mode = self.mode if first else "speak"
        running = self.under_way.begin(turn, speeches, source, gone, mode=mode, call=call if first else None)
        if running.speech.begun:
            await running.speech.begun
        return running

    async def turns(self, begun: Round, first: Running) -> AsyncGenerator[Running | TurnOut, None]:
        """The turns of a round, each begun when whoever asks for it has seen the end of the one before.

        One that can't begin is told as one that failed. It and one that did not come to its end are the last.
        """
        running, place = first, begun.place
        yield running
        for number in range(1, len(begun.speakers)):
            out = await self.ended(running)
            if out.state != "finished":
                return
            if out.reply_id:
                place = await place_after(self.services, out.reply_id, out.session_id)
            elif out.text:
                place = unstored(place, begun.speakers[number - 1], running.turn.scene.begun + out.text)
            try:
                running = await self.begin(begun.nth(number, place), first=False)
            except (AppError, EngineError) as error:
                yield _failed(begun, number, out.session_id, error)
                return
            yield running

    async def ended(self, running: Running) -> TurnOut:
        """A turn that is over, as it is told."""
        if not running.turn.ask.store:
            return draft(running)
        return await tell(self.services, self.under_way, self.caller.owner, running.turn.id)


def _failed(begun: Round, number: int, session_id: str, error: Exception) -> TurnOut:
    return TurnOut(
        id=new_id(),
        session_id=session_id,
        mode="speak",
        speaker=begun.cast.slugs[begun.speakers[number]],
        state="failed",
        text="",
        error=failure(error),
        created_at=now(),
        ended_at=now(),
    )
