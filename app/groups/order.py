"""Whose turn it is in a group: SillyTavern's four orders. Pure; the same seed gives the same order.

Source: SillyTavern 1.12, public/scripts/group-chats.js (`activateNaturalOrder`, `activateListOrder`,
`activatePooledOrder`). Where nothing is drawn there is no chance in it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.groups.mention import mentioned

Order = Literal["natural", "list", "manual", "pooled"]
TALKATIVENESS = 0.5
"""Of who says nothing else, 0 (speaks when named) to 1 (always speaks)."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A member of a group, by an id and the name that it goes by. One that is `muted` never speaks of itself."""

    id: str
    name: str
    talkativeness: float = TALKATIVENESS
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Floor:
    """What was said last: `text`, by the user (`by_user`) or by the member `speaker`; `spoken` since the user."""

    text: str = ""
    by_user: bool = True
    speaker: str | None = None
    spoken: frozenset[str] = frozenset()


def next_speakers(
    voices: Sequence[Voice], floor: Floor, order: Order, *, seed: int, again: bool = False
) -> tuple[str, ...]:
    """The ids of the members who speak now, in order; `again` lets one answer itself.

    * `natural`: whoever the last message names, in that order, then each by a draw against its talkativeness; at least
      one speaks.
    * `list`: everyone, in the order of the list.
    * `pooled`: one who did not speak since the user did; when all have, anyone but the last.
    * `manual`: nobody after the user; else one, drawn.
    """
    able = [voice for voice in voices if not voice.muted]
    draws = random.Random(seed)
    if order == "list":
        return tuple(voice.id for voice in able)
    if order == "manual":
        return () if floor.by_user else _one(_others(able, floor, again), draws)
    if order == "pooled":
        fresh = [voice for voice in able if floor.by_user or voice.id not in floor.spoken]
        return _one(fresh or _others(able, floor, again), draws)
    return _natural(_others(able, floor, again), floor, draws)


def _natural(voices: Sequence[Voice], floor: Floor, draws: random.Random) -> tuple[str, ...]:
    named = [voices[place].id for place in mentioned(floor.text, [voice.name for voice in voices])]
    shuffled = draws.sample(list(voices), len(voices))
    chatty = [voice for voice in shuffled if voice.talkativeness > 0]
    # A draw is below 1, so that who is at 1 always speaks, and who is at 0 only when named.
    willing = [voice.id for voice in shuffled if draws.random() < voice.talkativeness]
    return tuple(dict.fromkeys([*named, *willing])) or _one(chatty or shuffled, draws)


def _others(voices: Sequence[Voice], floor: Floor, again: bool) -> list[Voice]:
    """Who may speak after the last speaker; the only one there is may go on."""
    if floor.by_user or again or len(voices) < 2:
        return list(voices)
    return [voice for voice in voices if voice.id != floor.speaker]


def _one(voices: Sequence[Voice], draws: random.Random) -> tuple[str, ...]:
    return (draws.choice(voices).id,) if voices else ()
