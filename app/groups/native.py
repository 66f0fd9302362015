"""A round in a session of a group: what `POST /api/sessions/{id}/turns` does there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import JSONResponse, Response

from app.chat.follow import More, follow
from app.chat.progress import TurnOut
from app.chat.running import Running
from app.chat.sse import UNKEPT, EventStream
from app.chat.turns import told
from app.chat.wish import Target, TurnRequest, read_wish
from app.connected import while_connected
from app.errors import Unprocessable
from app.groups.cast import Cast
from app.groups.round import Round, begin_round
from app.groups.say import keep_said
from app.groups.stage import Stage
from app.groups.store import cast_of
from app.sessions.locate import place_below
from app.sessions.store import Place
from app.tables import new_id, now


async def take_round(stage: Stage, wish: TurnRequest, session_id: str, target: Target) -> Response:
    """One member after another speaks; who hangs up ends the round with the line that is being said."""
    begun = await _round(stage, wish, session_id, target)
    headers = {"x-session-id": session_id}
    headers["x-moodline-speakers"] = ",".join(begun.cast.slugs[one] for one in begun.speakers)
    if not begun.speakers:
        return await _unanswered(stage, wish, begun, headers)
    running = await stage.begin(begun.nth(0, begun.place))
    headers |= {"x-moodline-turn": running.turn.id} if begun.ask.store else UNKEPT
    if wish.stream:
        source = _streamed(stage, begun, running)
        return EventStream(source, source, headers)
    async with while_connected(stage.request):
        outs = [out async for out in _whole(stage, begun, running)]
    if running.speech.error:
        raise running.speech.error
    outs[0].following = outs[1:]
    return JSONResponse(outs[0].model_dump(mode="json"), headers=headers)


async def _round(stage: Stage, wish: TurnRequest, session_id: str, target: Target) -> Round:
    services, group = stage.services, target.group
    assert group is not None
    ask = read_wish(wish, stage.caller, services, session_id, target)
    async with services.db.read() as db:
        cast = await cast_of(db, group)
        if ask.below:
            place = await place_below(db, ask.below, ask.messages, session_id)
        else:
            place = Place(session_id, ask.messages, tuple(None for _ in ask.messages))
    named = _named(cast, target, wish) if wish.speakers is None else wish.speakers
    # Who is asked for without the user's saying anything is wanted, also where speakers are chosen by hand.
    drawn = "pooled" if cast.order == "manual" and wish.mode != "say" else cast.order
    return await begin_round(services, ask, cast, place, named, order=drawn)


def _named(cast: Cast, target: Target, wish: TurnRequest) -> list[str] | None:
    """Who speaks where that follows from the message: another try, or more, of a line is its speaker's."""
    if wish.mode == "impersonate":
        return [cast.slugs[voice.id] for voice in cast.voices if not voice.muted][:1]
    message = target.message
    if wish.mode not in ("regenerate", "continue") or message is None or message.role == "user":
        return None
    if message.speaker_id not in cast.slugs:
        raise Unprocessable(
            f"Who said this is not in the group any more; nobody can {wish.mode} it.", code="no_member", param="mode"
        )
    return [cast.slugs[message.speaker_id]]


async def _whole(stage: Stage, begun: Round, first: Running) -> AsyncGenerator[TurnOut, None]:
    async with aclosing(stage.turns(begun, first)) as turns:
        async for one in turns:
            if isinstance(one, TurnOut):
                yield one
                continue
            async with one.listening():
                await one.over()
            yield await stage.ended(one)


async def _streamed(stage: Stage, begun: Round, first: Running) -> AsyncGenerator[str, None]:
    """The events of each turn, one turn after another; that of a turn's beginning names who speaks."""
    async with aclosing(stage.turns(begun, first)) as turns:
        async for one in turns:
            async with aclosing(_told(stage, begun, one)) as lines:
                async for line in lines:
                    yield line


def _told(stage: Stage, begun: Round, one: Running | TurnOut) -> AsyncGenerator[str, None]:
    steps: AsyncGenerator[More | TurnOut, None]
    if isinstance(one, TurnOut):
        steps, turn_id, speaker = _only(one), one.id, one.speaker or ""
    else:
        turn_id, speaker = one.turn.id, one.turn.ask.slug
        steps = follow(stage.services, stage.under_way, stage.caller.owner, turn_id, begun=one)
    name = next(voice.name for voice in begun.cast.voices if begun.cast.slugs[voice.id] == speaker)
    return told(turn_id, begun.place.session_id or "", one.mode, steps, speaker=speaker, name=name)


async def _only(out: TurnOut) -> AsyncGenerator[More | TurnOut, None]:
    yield out


async def _unanswered(stage: Stage, wish: TurnRequest, begun: Round, headers: dict[str, str]) -> Response:
    """What the user says where nobody is to answer is heard all the same."""
    session_id = begun.place.session_id or ""
    if wish.mode != "say":
        raise Unprocessable("Nobody in the group can speak: everyone is muted or gone.", code="nobody_speaks")
    message_id = await keep_said(stage.services, begun)
    out = TurnOut(
        id=new_id(),
        session_id=session_id,
        mode="say",
        state="finished",
        text="",
        message_id=message_id,
        created_at=now(),
        ended_at=now(),
    )
    if wish.stream:
        source = told(out.id, session_id, out.mode, _only(out))
        return EventStream(source, source, headers)
    return JSONResponse(out.model_dump(mode="json"), headers=headers)
