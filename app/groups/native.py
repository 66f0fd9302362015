"""A round in a session of a group: what `POST /api/sessions/{id}/turns` does there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from app.auth import Caller
from app.chat.admit import admit, charge, until_said
from app.chat.ask import Ask
from app.chat.attendance import leave_of
from app.chat.follow import More, draft, follow, tell
from app.chat.progress import TurnOut, failure
from app.chat.running import Running
from app.chat.speak import Speech
from app.chat.sse import UNKEPT, EventStream
from app.chat.turn import prepare, take_turn
from app.chat.turns import told
from app.chat.under_way import UnderWay
from app.chat.wish import Target, TurnRequest, read_wish
from app.connected import while_connected
from app.errors import AppError, Unprocessable
from app.groups.cast import Cast
from app.groups.round import Round, begin_round, place_after
from app.groups.say import keep_said
from app.groups.store import cast_of
from app.keyed import SCOPE, Call
from app.services import Services
from app.sessions.locate import place_below
from app.sessions.store import Place
from app.tables import new_id, now
from models.engine import EngineError


@dataclass(frozen=True, slots=True)
class Stage:
    """What the turns of a round have in common: who asks, and what becomes of them when nobody listens."""

    services: Services
    under_way: UnderWay
    request: Request
    caller: Caller
    wish: TurnRequest
    session_id: str

    async def begin(self, ask: Ask, *, first: bool) -> Running:
        """Let one member's turn begin."""
        services, caller = self.services, self.caller
        place = await admit(services, self.request, caller, ask.user)
        with place.leave as leave:
            turn, speeches = await prepare(services, ask, place.waited), [Speech()]
            leave.callback(charge, services, caller, speeches)
            source = until_said(leave.pop_all(), take_turn(services, turn, speeches))
        call: Call | None = self.request.scope.get(SCOPE)
        gone = leave_of(services, self.wish.on_disconnect, stateful=ask.store, keyed=call is not None)
        mode = self.wish.mode if first else "speak"
        running = self.under_way.begin(turn, speeches, source, gone, mode=mode, call=call if first else None)
        if running.speech.begun:
            await running.speech.begun
        return running

    async def ended(self, running: Running) -> TurnOut:
        """A turn that is over, as it is told."""
        if not running.turn.ask.store:
            return draft(running)
        return await tell(self.services, self.under_way, self.caller.owner, running.turn.id)

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
                place = await place_after(self.services, out.reply_id, self.session_id)
            try:
                running = await self.begin(begun.nth(number, place), first=False)
            except (AppError, EngineError) as error:
                yield self._failed(begun, number, error)
                return
            yield running

    def _failed(self, begun: Round, number: int, error: Exception) -> TurnOut:
        return TurnOut(
            id=new_id(),
            session_id=self.session_id,
            mode="speak",
            speaker=begun.cast.slugs[begun.speakers[number]],
            state="failed",
            text="",
            error=failure(error),
            created_at=now(),
            ended_at=now(),
        )


async def take_round(stage: Stage, target: Target) -> Response:
    """One member after another speaks; who hangs up ends the round with the line that is being said."""
    begun = await _begin(stage, target)
    headers = {"x-session-id": stage.session_id}
    headers["x-moodline-speakers"] = ",".join(begun.cast.slugs[one] for one in begun.speakers)
    if not begun.speakers:
        return await _unanswered(stage, begun, headers)
    running = await stage.begin(begun.nth(0, begun.place), first=True)
    headers |= {"x-moodline-turn": running.turn.id} if begun.ask.store else UNKEPT
    if stage.wish.stream:
        source = _streamed(stage, begun, running)
        return EventStream(source, source, headers)
    async with while_connected(stage.request):
        outs = [out async for out in _whole(stage, begun, running)]
    if running.speech.error:
        raise running.speech.error
    outs[0].following = outs[1:]
    return JSONResponse(outs[0].model_dump(mode="json"), headers=headers)


async def _begin(stage: Stage, target: Target) -> Round:
    wish, services, group = stage.wish, stage.services, target.group
    assert group is not None
    ask = read_wish(wish, stage.caller, services, stage.session_id, target)
    async with services.db.read() as db:
        cast = await cast_of(db, group)
        if ask.below:
            place = await place_below(db, ask.below, ask.messages, stage.session_id)
        else:
            place = Place(stage.session_id, ask.messages, tuple(None for _ in ask.messages))
    named = _named(cast, target, wish) if wish.speakers is None else wish.speakers
    # Who is asked for without the user's saying anything is wanted, also where speakers are chosen by hand.
    drawn = "pooled" if cast.order == "manual" and wish.mode != "say" else cast.order
    return await begin_round(services, ask, cast, place, named, order=drawn)


def _named(cast: Cast, target: Target, wish: TurnRequest) -> list[str] | None:
    """Who speaks where that follows from the message: another try, or more, of a line is its speaker's."""
    if wish.mode == "impersonate":
        return list(cast.slugs.values())[:1]
    message = target.message
    if wish.mode not in ("regenerate", "continue") or message is None or message.role == "user":
        return None
    if message.speaker_id not in cast.slugs:
        raise Unprocessable(
            f"Who said this is not in the group any more; nobody can {wish.mode} it.", code="no_member", param="mode"
        )
    return [cast.slugs[message.speaker_id]]


async def _whole(stage: Stage, begun: Round, first: Running) -> AsyncGenerator[TurnOut, None]:
    async for one in stage.turns(begun, first):
        if isinstance(one, TurnOut):
            yield one
            continue
        async with one.listening():
            await one.over()
        yield await stage.ended(one)


async def _streamed(stage: Stage, begun: Round, first: Running) -> AsyncGenerator[str, None]:
    """The events of each turn, one turn after another; that of a turn's beginning names who speaks."""
    async for one in stage.turns(begun, first):
        steps: AsyncGenerator[More | TurnOut, None]
        if isinstance(one, TurnOut):
            steps, turn_id, speaker = _only(one), one.id, one.speaker or ""
        else:
            turn_id, speaker = one.turn.id, one.turn.ask.slug
            steps = follow(stage.services, stage.under_way, stage.caller.owner, turn_id, begun=one)
        name = next(voice.name for voice in begun.cast.voices if begun.cast.slugs[voice.id] == speaker)
        async for line in told(turn_id, stage.session_id, one.mode, steps, speaker=speaker, name=name):
            yield line


async def _only(out: TurnOut) -> AsyncGenerator[More | TurnOut, None]:
    yield out


async def _unanswered(stage: Stage, begun: Round, headers: dict[str, str]) -> Response:
    """What the user says where nobody is to answer is heard all the same."""
    if stage.wish.mode != "say":
        raise Unprocessable("Nobody in the group can speak: everyone is muted or gone.", code="nobody_speaks")
    message_id = await keep_said(stage.services, begun)
    out = TurnOut(
        id=new_id(),
        session_id=stage.session_id,
        mode="say",
        state="finished",
        text="",
        message_id=message_id,
        created_at=now(),
        ended_at=now(),
    )
    if stage.wish.stream:
        source = told(out.id, stage.session_id, out.mode, _only(out))
        return EventStream(source, source, headers)
    return JSONResponse(out.model_dump(mode="json"), headers=headers)
