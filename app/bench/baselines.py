"""What a search is compared with: BM25, fused ranks, and the order of plain scores.

A ranking is the places of a bank's texts, best first; equal scores go to the lower place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import bm25s
import numpy as np
import rjieba
from numpy.typing import NDArray

RRF_K = 60
"""The constant of reciprocal rank fusion in its paper."""

Scores = NDArray[np.float32]


def words(text: str) -> list[str]:
    """Words of Chinese (jieba's dictionary) and of other languages, in lower case, without punctuation."""
    return [word for word in rjieba.cut(text.casefold()) if any(map(str.isalnum, word))]


class Bm25:
    """BM25 over texts as bm25s has it by default (Lucene's formula, k1 1.5, b 0.75)."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._size = len(texts)
        # An index without a single word divides by its mean length, 0.
        self._index = bm25s.BM25() if any(texts) else None
        if self._index is not None:
            self._index.index([list(text) for text in texts], show_progress=False)

    def scores(self, query: Sequence[str]) -> Scores:
        """Of each text, float32 [n], 0 where no word is shared."""
        if self._index is None or not query:
            return np.zeros(self._size, np.float32)
        return np.asarray(self._index.get_scores(list(query)), np.float32)


def ordered(scores: Scores) -> list[int]:
    """Places by score."""
    return [int(place) for place in np.argsort(-scores, kind="stable")]


def fused(rankings: Iterable[Sequence[int]]) -> list[int]:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): each ranking gives 1 / (60 + rank)."""
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, place in enumerate(ranking, 1):
            scores[place] += 1 / (RRF_K + rank)
    return sorted(scores, key=lambda place: (-scores[place], place))
