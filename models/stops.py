"""Stop strings over a stream of text: they end it and are never part of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class StopFilter:
    """Lets text through until a stop string is complete.

    Only a tail that may still become a stop string is held back. Where the text is cut does not depend on how it was
    split into pieces: the stop string that is complete first wins, the longest of those that end at the same place.
    With `included` it is part of the text. Once `enough` is set the text has ended too.
    """

    def __init__(self, stops: Sequence[str], *, included: bool = False, enough: threading.Event | None = None) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._included = included
        self._held = ""
        self._enough = enough
        self._found = False

    @property
    def stopped(self) -> bool:
        """Whether nothing that comes matters any more."""
        return self._found or (self._enough is not None and self._enough.is_set())

    def push(self, piece: str) -> str:
        """The text that is now certain. Once `stopped`, always empty."""
        if self.stopped:
            return ""
        text = self._held + piece
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self._found, self._held = True, ""
            return text[: min(ends)[0 if self._included else 1]]
        safe = len(text) - self._doubtful(text)
        self._held = text[safe:]
        return text[:safe]

    def flush(self) -> str:
        """What was held back, once no more text will come."""
        held, self._held = self._held, ""
        return held

    def _doubtful(self, text: str) -> int:
        """Length of the longest tail of `text` that begins a stop string."""
        longest = max(map(len, self._stops), default=0) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
