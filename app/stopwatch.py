"""How long each step of a turn took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Named spans in milliseconds, and the time since it was made."""

    def __init__(self) -> None:
        self.spans: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block; blocks of the same name add up."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, began)

    def add(self, name: str, began: float) -> None:
        """Add the time since `began` (of `time.perf_counter`)."""
        self.spans[name] = self.spans.get(name, 0.0) + (time.perf_counter() - began) * 1000

    def mark(self, name: str) -> None:
        """Record the time since the stopwatch was made, once."""
        self.spans.setdefault(name, (time.perf_counter() - self._began) * 1000)

    def rounded(self) -> dict[str, float]:
        """Spans for people, to a hundredth of a millisecond."""
        return {name: round(span, 2) for name, span in self.spans.items()}
