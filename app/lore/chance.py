"""Draws: given beforehand, so that an evaluation can be replayed, or from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Draw:
    """A number in [0, 1) and what it decided."""

    kind: str
    value: float
    about: dict[str, Any]


class Draws:
    """The numbers `given`, in their order, then those of `seed`; `made` are those that were used."""

    def __init__(self, given: Iterable[float] = (), seed: int | None = 0) -> None:
        self._given = iter(given)
        self._random = random.Random(seed)
        self.made: list[Draw] = []

    def next(self) -> float:
        """The next number."""
        given = next(self._given, None)
        return self._random.random() if given is None else given

    def record(self, kind: str, value: float, **about: Any) -> None:
        """Keep what a number decided."""
        self.made.append(Draw(kind, value, about))
