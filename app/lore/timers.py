"""Sticky, cooldown and delay: what an entry's activation does to the messages after it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.lore.entry import Entry
from app.lore.quirks import Quirk

Effect = Literal["sticky", "cooldown"]


@dataclass(frozen=True, slots=True)
class Timer:
    """An effect from chat length `start` to before length `end`, in messages.

    One that is not `protected` goes when the chat is no longer than when it began: the message that began it was taken
    back. `digest` is the wording of the entry that began it; empty for any.
    """

    start: int
    end: int
    protected: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Timers:
    """What runs, by the ids of entries."""

    sticky: Mapping[str, Timer] = field(default_factory=dict)
    cooldown: Mapping[str, Timer] = field(default_factory=dict)


NO_TIMERS = Timers()


class Clock:
    """The timers of one evaluation at a chat of `length` messages."""

    def __init__(
        self, timers: Timers, entries: Sequence[Entry], length: int, quirks: frozenset[Quirk], *, dry_run: bool
    ) -> None:
        self._length, self._quirks = length, quirks
        self._records: dict[Effect, dict[str, Timer]] = {
            "sticky": dict(timers.sticky),
            "cooldown": dict(timers.cooldown),
        }
        self._running: dict[Effect, set[str]] = {"sticky": set(), "cooldown": set()}
        self._looks = not (dry_run and "dry_run_skips_timers" in quirks)
        self._counts = not dry_run
        before = timers
        if self._looks:
            # Only what has a record is looked at, so that a large book costs nothing here.
            known = {entry.id: entry for entry in entries} if timers.sticky or timers.cooldown else {}
            self._look("sticky", known)
            self._look("cooldown", known)
        if dry_run:
            self._records = {"sticky": dict(before.sticky), "cooldown": dict(before.cooldown)}

    def is_sticky(self, entry: Entry) -> bool:
        """Whether it speaks on without its keys."""
        return entry.id in self._running["sticky"]

    def is_cooling(self, entry: Entry) -> bool:
        """Whether it may not speak again yet."""
        return entry.id in self._running["cooldown"]

    def is_delayed(self, entry: Entry) -> bool:
        """Whether the chat is still too short for it."""
        return self._looks and self._length < entry.delay

    @property
    def touched(self) -> frozenset[str]:
        """Ids of entries that something runs for."""
        return frozenset(self._running["sticky"] | self._running["cooldown"])

    def end(self, activated: Iterable[Entry]) -> Timers:
        """The timers after an evaluation that activated these entries; those that run are not set anew."""
        if self._counts:
            for entry in activated:
                for effect in ("sticky", "cooldown"):
                    if length := _length(entry, effect):
                        timer = Timer(self._length, self._length + length, digest=entry.digest)
                        self._records[effect].setdefault(entry.id, timer)
        return Timers(self._records["sticky"], self._records["cooldown"])

    def _look(self, effect: Effect, known: Mapping[str, Entry]) -> None:
        records = self._records[effect]
        for name, timer in list(records.items()):
            entry = known.get(name)
            if entry and timer.digest not in ("", entry.digest) and "edit_changes_hash" in self._quirks:
                entry = None
            if self._length <= timer.start and not timer.protected:
                del records[name]
            elif entry is None:
                if self._length >= timer.end:
                    del records[name]
            elif not _length(entry, effect):
                del records[name]
            elif self._length >= timer.end:
                del records[name]
                if effect == "sticky" and entry.cooldown:
                    self._cool(entry)
            else:
                self._running[effect].add(name)

    def _cool(self, entry: Entry) -> None:
        """A cooldown begins when what was sticky ends, and can't be taken back by shortening the chat."""
        end = self._length + entry.cooldown
        self._records["cooldown"][entry.id] = Timer(self._length, end, protected=True, digest=entry.digest)


def _length(entry: Entry, effect: Effect) -> int:
    return entry.sticky if effect == "sticky" else entry.cooldown
