"""Texts that a reply must not contain, whichever tokens spell them: words of scripts without spaces between words."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
"""A word with such a character has no tokens of its own: they are cut where the neighbours have it."""


class Spellings:
    """All tokens by their bytes, for finding those that begin alike."""

    def __init__(self, tokens: Sequence[bytes | None]) -> None:
        known = sorted((data, token) for token, data in enumerate(tokens) if data)
        self._data = [data for data, _ in known]
        self._ids = np.array([token for _, token in known], np.int64)

    def beginning(self, text: bytes) -> NDArray[np.int64]:
        """The ids of the tokens that begin with `text`."""
        # No UTF-8 has the byte 0xff, so this is beyond all that begin so.
        return self._ids[bisect_left(self._data, text) : bisect_right(self._data, text + b"\xff")]

    def holding(self, text: bytes) -> NDArray[np.int64]:
        """The ids of the tokens that have `text` within them."""
        return self._ids[[place for place, data in enumerate(self._data) if text in data]]


class Unsaid:
    """Keeps `words` out of one reply, byte by byte."""

    def __init__(self, words: Sequence[str], spellings: Spellings) -> None:
        self._words = [word.encode() for word in words]
        self._spellings = spellings
        self._always = [spellings.holding(word) for word in self._words]
        self._tail = b""
        self._longest = max(map(len, self._words), default=0)

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Forbid, in place, every token of `logits` [vocabulary] that would complete one of the words."""
        for word, always in zip(self._words, self._always, strict=True):
            logits[always] = -np.inf
            for said in range(1, len(word)):
                if self._tail.endswith(word[:said]):
                    logits[self._spellings.beginning(word[said:])] = -np.inf

    def take(self, data: bytes) -> None:
        """These bytes were said."""
        self._tail = (self._tail + data)[-self._longest :]
