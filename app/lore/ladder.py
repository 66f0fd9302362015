"""Stages that a card's author wrote as lore: entries of one inclusion group, each called by a range of affinity.

In a browser a status line in the talk calls them (`affection: 35`), and is lost once it leaves the messages that are
looked through. Here the number is the bond's, so that the entries mean what `stages` mean. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from app.lore.entry import Entry
from app.lore.groups import group_names
from app.lore.keys import Reading, compiled, read_key
from app.lore.specimen import specimen

MOST_RUNGS = 20
MOST_KEYS = 5
"""Of one rung."""
MOST_LADDERS = 4
PATTERN_BYTES = 2**14
"""Memory of one compiled expression; a range of numbers takes a tenth."""
MOST_SILENT = 5
"""Numbers that no entry needs to have, as where an author counts from 1 or forgets 100."""
HIGHEST = 100
_WORDS = (
    *("好感度", "好感值", "好感", "亲密度", "亲密值", "亲密", "爱慕", "爱意", "恋爱度", "恋心"),
    *("affinity", "affection", "intimacy", "favorability", "favourability", "favor", "favour", "closeness", "fondness"),
    *("relationship", "attachment", "love", "bond"),
)
_LABEL = re.compile("|".join(_WORDS), re.IGNORECASE)
_NUMBER = re.compile(r"\d+", re.ASCII)
_READING = Reading(fold=True, whole=False, quirks=frozenset())


@dataclass(frozen=True, slots=True)
class Rung:
    """A stage: the entry at this place of its book speaks from the affinity `low` up to the next rung's."""

    place: int
    name: str
    low: int


def ladders(entries: Sequence[Entry]) -> list[tuple[Rung, ...]]:
    """The ladders of affinity in a book, each from its lowest rung up; those that are anything else are no ladders."""
    groups: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        if entry.enabled:
            for name in group_names(entry):
                groups.setdefault(name, []).append(place)
    candidates = (places for places in groups.values() if _may_be(entries, places))
    found = (_ladder(entries, places) for places in islice(candidates, MOST_LADDERS))
    return [rungs for rungs in found if rungs]


def _may_be(entries: Sequence[Entry], places: Sequence[int]) -> bool:
    return 2 <= len(places) <= MOST_RUNGS and all(_is_called_by_affinity(entries[place]) for place in places)


def _is_called_by_affinity(entry: Entry) -> bool:
    """Whether nothing but expressions on affinity calls it; one that names its stages itself needs no reading."""
    asks_more = entry.constant or (entry.selective and entry.secondary_keys) or entry.stages is not None
    alone = len(group_names(entry)) == 1 and 0 < len(entry.keys) <= MOST_KEYS
    return not asks_more and alone and all(key.startswith("/") and _LABEL.search(key) for key in entry.keys)


def _ladder(entries: Sequence[Entry], places: Sequence[int]) -> tuple[Rung, ...]:
    said = _status_lines(entries[places[0]].keys[0])
    called = {place: _calls(entries[place], said) for place in places}
    return _rungs(entries, called) if said and all(called.values()) else ()


def _status_lines(key: str) -> list[bytes]:
    """What a talk would say at each affinity, spelled as an expression has it; none where it names no number."""
    line = specimen(key[1 : key.rindex("/")])
    label = _LABEL.search(line)
    number = _NUMBER.search(line, label.end()) if label else None
    if number is None:
        return []
    before, after = line[: number.start()], line[number.end() :]
    return [f"{before}{value}{after}".encode("utf-8", "replace") for value in range(HIGHEST + 1)]


def _calls(entry: Entry, said: Sequence[bytes]) -> set[int]:
    """The numbers whose lines call an entry."""
    programs = list(_programs(entry))
    return {value for value, line in enumerate(said) if any(program.search(line) for program in programs)}


def _programs(entry: Entry) -> Iterator[Any]:
    """The expressions that call an entry, as far as they can be run."""
    for written in entry.keys:
        key = read_key(written, _READING)
        program = compiled(key, PATTERN_BYTES)[0] if key.kind == "regex" else None
        if program is not None:
            yield program


def _rungs(entries: Sequence[Entry], called: Mapping[int, set[int]]) -> tuple[Rung, ...]:
    """Rungs by the numbers that call each entry; none unless one entry speaks at nearly every number, in one range."""
    winners = [
        _winner(entries, [place for place, numbers in called.items() if n in numbers]) for n in range(HIGHEST + 1)
    ]
    speaking = [(n, place) for n, place in enumerate(winners) if place is not None]
    if len(speaking) < HIGHEST + 1 - MOST_SILENT:
        return ()
    starts = [(n, place) for at, (n, place) in enumerate(speaking) if at == 0 or speaking[at - 1][1] != place]
    if sorted(place for _, place in starts) != sorted(called):
        return ()
    names = _names([entries[place] for _, place in starts], [n for n, _ in starts])
    lows = [0, *(n for n, _ in starts[1:])]
    return tuple(Rung(place, name, low) for (_, place), name, low in zip(starts, names, lows, strict=True))


def _winner(entries: Sequence[Entry], places: Sequence[int]) -> int | None:
    """Who of its group speaks; None for nobody, and where a draw would decide."""
    if len(places) > 1 and all(entries[place].group_override for place in places):
        return max(places, key=lambda place: entries[place].order)
    return places[0] if len(places) == 1 else None


def _names(climbed: Sequence[Entry], lows: Sequence[int]) -> list[str]:
    """What the stages are called: as the entries are, where these tell them apart."""
    names = [" ".join(entry.name.split())[:100] for entry in climbed]
    told = all(names) and len(set(names)) == len(names)
    return names if told else [f"{low}+" for low in lows]
