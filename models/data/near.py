"""Rows that say the same, or nearly: MinHash over shingles of letters (Broder 1997), in time linear in the rows.

White space, punctuation, case and width of letters don't matter. Two texts are near when at least `SAME` of their
shingles of five letters (three where a text is mostly Chinese) are in both.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.talk import language_of
from models.example import Example

SAME = 0.8
_BANDS, _ROWS = 20, 4
"""A pair that shares 0.8 of its shingles meets in a band with a probability of 1 - (1 - 0.8**4)**20, or 0.99997."""
_MEMBERS = 8
"""Texts of one bucket that a new one is compared with, so that a million repeats of a greeting stay linear."""
_PRIME = (1 << 31) - 1
_UNSAID = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Repeat:
    """Row `row` says what the earlier row `of` says; `exact` apart from punctuation, and nearly otherwise."""

    row: int
    of: int
    exact: bool


def bare(text: str) -> str:
    """The letters and digits of `text` in one case and width."""
    return _UNSAID.sub("", unicodedata.normalize("NFKC", text).casefold())


def repeats(examples: Iterable[Example], same: float = SAME) -> Iterator[Repeat]:
    """Every row that repeats an earlier one: its last message and its replies are compared.

    Rows with another talk before the same exchange count as repeats too, except exchanges too short to be telling,
    which are compared with all that was said before them.
    """
    index = Index(same)
    for row, example in enumerate(examples):
        found = index.add(said(example))
        if found:
            yield Repeat(row, *found)


def said(example: Example) -> str:
    """What a row is known by: message and replies, with the talk before them while that is short."""
    history = [message.content for message in example.scene.history]
    exchange = [history[-1], example.reply, example.rejected]
    telling = len(bare("".join(exchange)).encode()) >= 60
    return "\n".join(exchange if telling else [example.scene.character, *history[:-1], *exchange])


@dataclass(frozen=True, slots=True)
class _Known:
    """A text's letters and their shingles."""

    letters: str
    shingles: NDArray[np.uint64]

    @classmethod
    def of(cls, text: str) -> _Known:
        letters = bare(text)
        return cls(letters, _shingles(letters, 3 if language_of([text]) == "zh" else 5))


class Index:
    """Texts by their buckets; `add` tells which earlier one a text repeats."""

    def __init__(self, same: float = SAME) -> None:
        generator = np.random.default_rng(0)
        self._scale = generator.integers(1, _PRIME, _BANDS * _ROWS, dtype=np.uint64)
        self._shift = generator.integers(0, _PRIME, _BANDS * _ROWS, dtype=np.uint64)
        self._same = same
        self._exact: dict[str, int] = {}
        self._shingles: list[NDArray[np.uint64]] = []
        self._buckets: dict[tuple[int, bytes], list[int]] = {}

    def add(self, text: str) -> tuple[int, bool] | None:
        """Remember a text, which gets the next place; tells the earlier one that it repeats, and whether exactly."""
        place, known = len(self._shingles), _Known.of(text)
        found = self._find(known)
        self._shingles.append(known.shingles)
        self._exact.setdefault(known.letters, place)
        if found is None:
            for key in self._keys(known.shingles):
                members = self._buckets.setdefault(key, [])
                if len(members) < _MEMBERS:
                    members.append(place)
        return found

    def find(self, text: str) -> tuple[int, bool] | None:
        """What `add` tells, without remembering the text."""
        return self._find(_Known.of(text))

    def _find(self, known: _Known) -> tuple[int, bool] | None:
        if known.letters in self._exact:
            return self._exact[known.letters], True
        candidates = (one for key in self._keys(known.shingles) for one in self._buckets.get(key, ()))
        for candidate in dict.fromkeys(candidates):
            if _alike(known.shingles, self._shingles[candidate]) >= self._same:
                return candidate, False
        return None

    def _keys(self, shingles: NDArray[np.uint64]) -> Iterator[tuple[int, bytes]]:
        if not len(shingles):
            return iter(())
        hashed = (shingles[:, None] * self._scale + self._shift) % _PRIME
        least = hashed.min(axis=0).reshape(_BANDS, _ROWS)
        return ((band, row.tobytes()) for band, row in enumerate(least))


def _shingles(letters: str, width: int) -> NDArray[np.uint64]:
    """Hashes below 2^31 of all runs of `width` letters, each once; none of a text that is shorter."""
    runs = {letters[n : n + width] for n in range(len(letters) - width + 1)}
    return np.array(sorted(zlib.crc32(run.encode()) & _PRIME for run in runs), dtype=np.uint64)


def _alike(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """Jaccard's index."""
    both = len(np.intersect1d(one, other))
    return both / max(1, len(one) + len(other) - both)
