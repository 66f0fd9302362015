"""A round: the turns of a group that one request asks for, one member after another, each an ordinary turn."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.chat.ask import Ask
from app.errors import Unprocessable
from app.groups.cast import Cast
from app.groups.order import Floor, Order, next_speakers
from app.groups.spoken import Spoken
from app.services import Services
from app.sessions.locate import place_below
from app.sessions.store import Place, read_branch


@dataclass(frozen=True, slots=True)
class Round:
    """Who speaks, by ids and in order, what they are asked, and the place in the tree where the first goes on."""

    cast: Cast
    speakers: tuple[str, ...]
    ask: Ask
    place: Place

    def nth(self, number: int, place: Place) -> Ask:
        """What a speaker is asked at a place of the tree; only the first may go on with a line that is begun."""
        speaker = self.speakers[number]
        cast = replace(self.cast, speaker=speaker)
        begun = self.ask.begun if number == 0 else ""
        return replace(self.ask, slug=cast.slugs[speaker], cast=cast, place=place, messages=(), below=None, begun=begun)


async def begin_round(
    services: Services, ask: Ask, cast: Cast, place: Place, named: Sequence[str] | None, *, order: Order
) -> Round:
    """Who speaks at a place: those who are `named` by their slugs, or whose turn it is by `order`.

    Raises `Unprocessable` for a name that is no member's or is muted.
    """
    if named is not None:
        speakers = tuple(_named(cast, slug) for slug in dict.fromkeys(named))
    else:
        seed = secrets.randbits(63) if ask.sampling.seed is None else ask.sampling.seed
        floor = await _floor(services, cast, place)
        speakers = next_speakers(cast.voices, floor, order, seed=seed, again=cast.again)
    return Round(cast, speakers, ask, place)


async def place_after(services: Services, reply_id: str, session_id: str) -> Place:
    """The end of a stored line: where the next speaker goes on."""
    async with services.db.read() as db:
        return await place_below(db, reply_id, (), session_id)


def unstored(place: Place, speaker: str, said: str) -> Place:
    """The same where a line is stored nowhere."""
    return replace(place, history=(*place.history, Spoken("assistant", said, speaker)), ids=(*place.ids, None))


def _named(cast: Cast, slug: str) -> str:
    voice = next((voice for voice in cast.voices if cast.slugs[voice.id] == slug), None)
    if voice is None:
        there = ", ".join(repr(one) for one in cast.slugs.values()) or "nobody"
        raise Unprocessable(f"{slug!r} is not in the group; there is {there}.", code="no_member", param="speakers")
    if voice.muted:
        raise Unprocessable(f"{voice.name} is muted, and only listens.", code="muted", param="speakers")
    return voice.id


async def _floor(services: Services, cast: Cast, place: Place) -> Floor:
    """What was said last at a place, and who has spoken since the user did."""
    async with services.db.read() as db:
        rows = {row.id: row for row in await read_branch(db, place.parent_id)} if place.parent_id else {}
    spoken: list[str] = []
    for message, message_id in zip(reversed(place.history), reversed(place.ids), strict=True):
        if message.role == "user":
            break
        row = rows.get(message_id or "")
        told = message.speaker if isinstance(message, Spoken) else ""
        spoken.append((row.speaker_id or "") if row else told)
    last = place.history[-1] if place.history else None
    by_user = last is None or last.role == "user"
    speaker = None if by_user else spoken[0]
    return Floor(last.content if last else "", by_user, speaker, frozenset(spoken))
