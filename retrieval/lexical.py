"""Search by words: BM25 over rows that grow one at a time, each scored alone and with the rows around it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from retrieval.neighbours import Neighbours
from retrieval.terms import Terms

Places = NDArray[np.int64]
Numbers = NDArray[np.float32]
Scores = NDArray[np.float32]

K1 = 0.9
B = 0.4
"""Lucene's form of BM25 with the parameters of Anserini for short passages."""


@dataclass(frozen=True)
class Counts:
    """How often terms occur: `table` [terms, some] in the rows at `places` [some]; `lengths` [rows] of all rows."""

    places: Places
    table: Numbers
    lengths: Numbers


class LexicalIndex:
    """Rows of terms. Adding a row touches its own terms only: nothing is rebuilt. Safe to use from several threads.

    The inverse document frequency and the mean length are taken when a query comes, over the rows there are then; so
    scores are those of an index built afresh, whatever the order in which rows came.
    """

    def __init__(self) -> None:
        self._postings: dict[int, array[int]] = {}
        self._lengths = array("I")
        self._total = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take."""
        return 4 * (len(self._lengths) + self._total) + 200 * len(self._postings)

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
            self._total += len(flat)

    def counts(self, query: Terms) -> Counts:
        """How often the different terms of `query` are in each row that has one of them."""
        with self._lock:
            lengths = np.array(self._lengths, np.float32)
            postings = [self._postings[name] for name in dict.fromkeys(query.tolist()) if name in self._postings]
            found = [_counted(posting) for posting in postings]
        places = np.unique(np.concatenate([rows for rows, _ in found])) if found else np.empty(0, np.uint32)
        table = np.zeros((len(found), len(places)), np.float32)
        for term, (rows, times) in enumerate(found):
            table[term, np.searchsorted(places, rows)] = times
        return Counts(places.astype(np.int64), table, lengths)


def _counted(posting: array[int]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The rows of a posting list, which is ascending, and how often each is in it."""
    rows = np.frombuffer(posting, np.uint32)
    starts = np.concatenate([[0], np.flatnonzero(rows[1:] != rows[:-1]) + 1])
    return rows[starts], np.diff(starts, append=len(rows))


def bm25(table: Numbers, lengths: Numbers, rows: int, mean_length: float) -> Scores:
    """BM25 of some of `rows` rows, in which a query's terms occur `table` [terms, some] times: float32 [some].

    The other rows have none of the terms. Lucene's idf, ln(1 + (N - df + 0.5) / (df + 0.5)), and its tf without the
    constant factor k1 + 1, as `bm25s` has it.
    """
    frequency = np.count_nonzero(table, axis=1)
    idf = np.log1p((rows - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    norm = K1 * (1 - B + B * lengths / np.float32(max(mean_length, 1e-9)))
    # Not `@`, which asks the processor whether a number was invalid: OpenBLAS's kernels now and then say so of lanes
    # that they don't use.
    scores: Scores = idf.dot(table / (table + norm))
    return scores


def lexical_scores(counts: Counts, neighbours: Neighbours) -> Scores:
    """How well all rows match by words, alone and with one and with two rows on either side: float32 [rows], 0 for not.

    The three are put on one scale, that of their deviation over all rows, and added: so a row is found by its own
    words, by those of the answer it got, and by what the talk was about. Without neighbours it is BM25, so scaled.
    """
    size = len(counts.lengths)
    scores = np.zeros(size, np.float32)
    if not len(counts.places):
        return scores
    before, after = neighbours.before, neighbours.after
    if (before < 0).all():
        near, far = [], []
    else:
        near = [before, after]
        far = [np.where(step >= 0, step[step], -1) for step in near]
    for window in [[], near, near + far] if near else [[]]:
        places, table, lengths = _windowed(counts, window)
        found = bm25(table, lengths[places], size, float(lengths.mean()))
        mean = found.sum(dtype=np.float64) / size
        deviation = np.sqrt(max(np.square(found, dtype=np.float64).sum() / size - mean**2, 0.0))
        scores[places] += found / max(deviation, 1e-9)
    return scores


def _windowed(counts: Counts, window: Sequence[Places]) -> tuple[Places, Numbers, Numbers]:
    """The rows whose window has a term, what is counted in it [terms, those], and the lengths of all windows [rows].

    `window` holds for each row the places of those that belong to it, -1 for none.
    """
    size = len(counts.lengths)
    column = np.full(size + 1, len(counts.places), np.int64)  # its last stands for no row, and counts nothing
    column[counts.places] = np.arange(len(counts.places))
    hit = column[:-1] < len(counts.places)
    for step in window:
        hit = hit | (column[step] < len(counts.places))
    places = np.flatnonzero(hit)
    padded = np.pad(counts.table, ((0, 0), (0, 1)))
    table = padded[:, column[places]]
    lengths = counts.lengths
    padded_lengths = np.append(lengths, np.float32(0))
    for step in window:
        table = table + padded[:, column[step[places]]]
        lengths = lengths + padded_lengths[step]
    return places, table, lengths
