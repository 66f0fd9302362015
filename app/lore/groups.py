"""Inclusion groups: of the entries of a group that were found in a pass, one speaks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from app.lore.chance import Draws
from app.lore.entry import Entry
from app.lore.quirks import Quirk
from app.lore.timers import Clock

_TOLD = ("group", "score", "sticky")
MAX_GROUPS = 32
"""Of one entry."""
_NUMBER = re.compile(r"0|[1-9]\d{0,9}")


@dataclass(slots=True)
class Settled:
    """Who is left of a pass, who lost by what, who is really out by what, and the groups that were closed before it."""

    kept: list[Entry]
    lost: list[tuple[Entry, str]] = field(default_factory=list)
    out: list[tuple[Entry, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def remove(self, entry: Entry, why: str, *, twice: bool) -> None:
        """Take an entry out; one that is out already takes the last along if `twice`."""
        place = next((place for place, kept in enumerate(self.kept) if kept is entry), None)
        if place is None and not twice:
            return
        if why in _TOLD:
            self.lost.append((entry, why))
        if self.kept:
            self.out.append((self.kept.pop(-1 if place is None else place), why))


def group_names(entry: Entry) -> list[str]:
    """The groups that an entry is in."""
    return [name for name in re.split(r",\s*", entry.group, maxsplit=MAX_GROUPS)[:MAX_GROUPS] if name]


def settle(
    found: list[Entry],
    active: Collection[Entry],
    clock: Clock,
    score: Callable[[Entry], int],
    draws: Draws,
    quirks: frozenset[Quirk],
    *,
    scoring: bool,
) -> Settled:
    """Choose among the entries `found` in a pass, in their order; `active` are those of passes before.

    Who is sticky wins its group. Then, where scoring is on, only those with the most keys found stay. Then a group with
    an active entry is closed, the highest `order` among those with an override wins, or weights are drawn.
    """
    groups = _groups(found)
    settled = Settled(list(found))
    twice = "group_double_removal" in quirks
    closed = _closed(active, quirks)
    sticky = {name for name, members in groups.items() if any(map(clock.is_sticky, members))}
    for name, members in groups.items():
        _prefer_sticky(settled, members, clock, name in sticky, quirks)
    for name, members in groups.items():
        if name not in sticky:
            _score(settled, members, score, scoring, twice)
    for name, members in groups.items():
        if name not in sticky:
            _close_or_choose(settled, name, members, draws, closed=name in closed, twice=twice)
    return settled


def _groups(found: list[Entry]) -> dict[str, list[Entry]]:
    """Members by group, in JavaScript's order of names: numbers first, then as they appear."""
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        for name in group_names(entry):
            groups.setdefault(name, []).append(entry)
    numbers = sorted((name for name in groups if _NUMBER.fullmatch(name) and int(name) < 2**32 - 1), key=int)
    return {name: groups[name] for name in dict.fromkeys((*numbers, *groups))}


def _prefer_sticky(
    settled: Settled, members: list[Entry], clock: Clock, any_sticky: bool, quirks: frozenset[Quirk]
) -> None:
    twice = "group_double_removal" in quirks
    for entry in members if any_sticky else ():
        if not clock.is_sticky(entry):
            settled.remove(entry, "sticky", twice=twice)
    for entry in members:
        if clock.is_cooling(entry) and ("group_drops_sticky_on_cooldown" in quirks or not clock.is_sticky(entry)):
            settled.remove(entry, "cooldown", twice=twice)


def _score(settled: Settled, members: list[Entry], score: Callable[[Entry], int], scoring: bool, twice: bool) -> None:
    """Remove those who score less than the best of their group, from the group as well."""
    if not scoring and not any(entry.group_scoring for entry in members):
        return
    scores = [score(entry) for entry in members]
    best = max(scores)
    stay = []
    for entry, points in zip(list(members), scores, strict=True):
        scored = scoring if entry.group_scoring is None else entry.group_scoring
        if scored and points < best:
            settled.remove(entry, "score", twice=twice)
        else:
            stay.append(entry)
    members[:] = stay


def _close_or_choose(
    settled: Settled, name: str, members: list[Entry], draws: Draws, *, closed: bool, twice: bool
) -> None:
    """Leave the winner of a group, or nobody where the group is closed."""
    winner = None
    if closed:
        settled.closed.append(name)
    elif len(members) <= 1 or (winner := _choose(name, members, draws)) is None:
        return
    for entry in members:
        if entry is not winner:
            settled.remove(entry, "closed group" if closed else "group", twice=twice)


def _closed(active: Collection[Entry], quirks: frozenset[Quirk]) -> set[str]:
    """The groups that an active entry closes."""
    if "group_closed_by_whole_string" in quirks:
        return {entry.group for entry in active}
    return {name for entry in active if entry.group for name in group_names(entry)}


def _choose(name: str, members: list[Entry], draws: Draws) -> Entry | None:
    first = [entry for entry in members if entry.group_override]
    if first:
        return max(first, key=lambda entry: entry.order)
    value = draws.next()
    roll = value * sum(entry.group_weight for entry in members)
    reached = 0.0
    winner = None
    for entry in members:
        reached += entry.group_weight
        if roll <= reached:
            winner = entry
            break
    draws.record("group", value, group=name, winner=winner.uid if winner else None)
    return winner
