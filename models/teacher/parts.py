"""Many parts of a work, several at a time, their results in order: what can't be had is counted and named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from models.teacher.ask import Rejected, Teacher

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lost:
    """A row that there is not, and why."""

    row: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Part(Generic[T]):
    """One thing to make rows of. A Rejected that `work` raises loses the whole part."""

    name: str
    work: Callable[[], Awaitable[Sequence[T | Lost]]]

    async def results(self) -> Sequence[T | Lost]:
        """What comes of it."""
        try:
            return await self.work()
        except Rejected as error:
            return [Lost(self.name, error.reason, error.detail)]


@dataclass
class Made(Generic[T]):
    """The rows that came of parts, in the parts' order, and those that did not."""

    rows: list[T] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)

    def sort_in(self, results: Iterable[T | Lost]) -> None:
        """Add results, each where it belongs."""
        for result in results:
            if isinstance(result, Lost):
                self.lost.append(result)
            else:
                self.rows.append(result)


Told = Callable[[str, int, int], None]
"""Is told what is made, how many parts are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a builder works: whom it asks, and who is told how far it is."""

    teacher: Teacher
    told: Told = lambda _what, _done, _total: None

    async def through(self, what: str, parts: Sequence[Part[T]]) -> Made[T]:
        """Work through `parts`, as many at a time as the teacher takes questions.

        What ends the work (LimitReached, EngineError) ends it after the questions under way are answered and kept.
        """
        results: list[Sequence[T | Lost]] = [()] * len(parts)
        waiting = iter(range(len(parts)))
        done = 0
        faults: list[Exception] = []

        async def work(places: Iterator[int]) -> None:
            nonlocal done
            for place in places:
                if faults:
                    return
                try:
                    results[place] = await parts[place].results()
                except Exception as error:
                    faults.append(error)
                    return
                done += 1
                self.told(what, done, len(parts))

        self.told(what, 0, len(parts))
        await asyncio.gather(*(work(waiting) for _ in range(min(self.teacher.at_once, len(parts)))))
        if faults:
            raise faults[0]
        made = Made[T]()
        for result in results:
            made.sort_in(result)
        return made
