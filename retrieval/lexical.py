"""Search by words: BM25 over rows that grow one at a time, each scored alone and with the rows around it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from retrieval.neighbours import Neighbours, spread
from retrieval.standard import standardised
from retrieval.terms import Terms

Scores = NDArray[np.float32]
Counts = NDArray[np.float32]

K1 = 0.9
B = 0.4
"""Lucene's form of BM25 with the parameters of Anserini for short passages."""


class LexicalIndex:
    """Rows of terms. Adding a row touches its own terms only: nothing is rebuilt. Safe to use from several threads.

    The inverse document frequency and the mean length are taken when a query comes, over the rows there are then; so
    scores are those of an index built afresh, whatever the order in which rows came.
    """

    def __init__(self) -> None:
        self._postings: dict[int, array[int]] = {}
        self._lengths = array("I")
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take."""
        return 4 * (len(self._lengths) + sum(self._lengths)) + 200 * len(self._postings)

    def add(self, rows: Sequence[Terms]) -> None:
        """Add rows behind those there are. A term's place in its posting list is repeated as often as it occurs."""
        sizes = np.array([len(row) for row in rows], np.uint32)
        if not len(sizes):
            return
        with self._lock:
            places = np.repeat(np.arange(len(self), len(self) + len(sizes), dtype=np.uint32), sizes)
            flat = np.concatenate(rows) if sizes.any() else np.empty(0, np.uint32)
            order = np.argsort(flat, kind="stable")
            names, starts = np.unique(flat[order], return_index=True)
            for name, part in zip(names.tolist(), np.split(places[order], starts[1:]), strict=False):
                self._postings.setdefault(name, array("I")).frombytes(part.tobytes())
            self._lengths.frombytes(sizes.tobytes())

    def counts(self, query: Terms) -> tuple[Counts, Counts]:
        """How often each different term of `query` that occurs at all is in each row, [terms, rows]; lengths [rows]."""
        with self._lock:
            size = len(self._lengths)
            found = [self._postings[name] for name in dict.fromkeys(query.tolist()) if name in self._postings]
            table = np.zeros((len(found), size), np.float32)
            for place, posting in enumerate(found):
                table[place] = np.bincount(np.frombuffer(posting, np.uint32), minlength=size)
            return table, np.array(self._lengths, np.float32)


def bm25(counts: Counts, lengths: Counts, k1: float = K1, b: float = B) -> Scores:
    """BM25 of rows [rows] for a query whose terms occur `counts` [terms, rows] times in them; 0 where none does.

    Lucene's idf, ln(1 + (N - df + 0.5) / (df + 0.5)), and its tf without the constant factor k1 + 1, as `bm25s` has it.
    """
    if not counts.size:
        return np.zeros(len(lengths), np.float32)
    frequency = np.count_nonzero(counts, axis=1)
    idf = np.log1p((len(lengths) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    norm = k1 * (1 - b + b * lengths / max(float(lengths.mean()), 1e-9))
    scores: Scores = idf @ (counts / (counts + norm))
    return scores


def lexical_scores(counts: Counts, lengths: Counts, neighbours: Neighbours) -> Scores:
    """How well rows [rows] match by words, alone and with one and with two rows on either side: float32, 0 for not.

    The three are standardised over the rows and added, so that a row is found by its own words, by those of the answer
    it got, and by what the talk was about. Where no row has neighbours it is BM25 alone.
    """
    alone = bm25(counts, lengths)
    before, after = neighbours.before, neighbours.after
    if not alone.any() or (before < 0).all():
        return alone
    near = [before, after]
    far = [np.where(step >= 0, step[step], -1) for step in near]
    total = np.zeros(len(alone))
    for places in ([], near, near + far):
        window = sum((spread(counts, place) for place in places), counts)
        length = sum((spread(lengths, place) for place in places), lengths)
        total += standardised(bm25(window, length), clip=np.inf)
    scores: Scores = (total - total.min()).astype(np.float32)
    return scores
