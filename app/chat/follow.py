"""Follow a turn from any point on, whichever process speaks it, also after it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass

from app.chat import progress
from app.chat.progress import TurnOut
from app.chat.running import Running
from app.chat.under_way import UnderWay
from app.errors import NotFound
from app.services import Services
from app.tables import now

LOOK_EVERY = 0.25
"""Seconds between two looks at the row of a turn that another process speaks."""
QUIET_SECONDS = 15.0
"""After which a follower is told that there is nothing new, so that nothing on the way takes the stream for dead."""


@dataclass(frozen=True, slots=True)
class More:
    """More of the reply, or nothing new for a while. `at` is how many characters of it have been told with this."""

    text: str
    at: int


async def follow(
    services: Services,
    under_way: UnderWay,
    owner: str,
    turn_id: str,
    at: int = 0,
    begun: Running | None = None,
    seen: TurnOut | None = None,
) -> AsyncGenerator[More | TurnOut, None]:
    """What a turn says after its first `at` characters, then how it ended; raises `NotFound`.

    Whoever has `begun` it hands it over: it may be over before anyone follows, and then only a stored one is found. One
    that was `seen`, and is erased while it is followed, has an end as well.
    A process that ends lets go of turns that another one speaks; who follows resumes there.
    """
    running = begun or under_way.find(owner, turn_id)
    if running:
        async for more in _follow_here(running, at):
            at = more.at
            yield more
        seen = draft(running)
        if not running.speech.begun:
            yield seen
            return
    looks = 0
    while True:
        try:
            seen = out = await tell(services, under_way, owner, turn_id)
        except NotFound:
            if seen is None:
                raise
            yield progress.taken_away(seen)
            return
        if len(out.text) > at or looks * LOOK_EVERY > QUIET_SECONDS:
            yield More(out.text[at:], max(at, len(out.text)))
            at, looks = max(at, len(out.text)), 0
        if out.state != "running":
            yield out
            return
        if under_way.closing:
            return
        looks += 1
        await asyncio.sleep(LOOK_EVERY)


def draft(running: Running) -> TurnOut:
    """A turn that is stored nowhere, as only this process knows it."""
    speech, turn = running.speech, running.turn
    finish = asdict(speech.finish) if speech.finish else {}
    return TurnOut(
        id=turn.id,
        session_id=turn.session_id,
        mode=running.mode,
        speaker=turn.ask.slug if turn.ask.cast else None,
        state=speech.outcome or "running",
        text=speech.said,
        **progress.finished(finish),
        error=progress.failure(speech.error) if speech.error else None,
        created_at=running.created_at,
        ended_at=now(),
    )


async def tell(services: Services, under_way: UnderWay, owner: str, turn_id: str) -> TurnOut:
    """A turn as it is now; raises `NotFound`."""
    async with services.db.read() as db:
        out = progress.show(await progress.read(db, owner, turn_id))
    running = under_way.find(owner, turn_id)
    if running and out.state == "running":
        out.text = running.speech.said
    return out


async def ended(services: Services, under_way: UnderWay, owner: str, turn_id: str) -> TurnOut:
    """How a turn ended, as soon as it has; raises `NotFound`."""
    while True:
        out = await tell(services, under_way, owner, turn_id)
        if out.state != "running":
            return out
        await asyncio.sleep(LOOK_EVERY)


async def _follow_here(running: Running, at: int) -> AsyncGenerator[More, None]:
    async with running.listening():
        while not running.ended or len(running.speech.said) > at:
            said = running.speech.said
            if len(said) > at:
                yield More(said[at:], len(said))
                at = len(said)
                continue
            try:
                await asyncio.wait_for(running.changed(), QUIET_SECONDS)
            except TimeoutError:
                yield More("", at)
