"""An exact index of unit vectors under integer ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from retrieval.encoder import Vectors
from retrieval.rows import Ids, Rows, inner_products

__all__ = ["Hit", "Ids", "Index"]

_PIECE = 512
"""Rows widened at once to measure their lengths: what fits a core's cache."""


@dataclass(frozen=True)
class Hit:
    """A row that was found. `score` is the cosine, -1 to 1, higher is nearer."""

    id: int
    score: float


class Index:
    """Rows of one encoder, searched exactly by inner product. Safe to use from several threads.

    A search works on the rows as they were when it began; it keeps nobody from adding, and nobody keeps it.
    """

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"an index needs a dimension of at least 1, not {dimension}")
        self.dimension = dimension
        self._rows = Rows(dimension)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> frozenset[int]:
        """All ids."""
        with self._lock:
            return frozenset(self._rows)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take."""
        return self._rows.nbytes

    def add(self, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        """Add rows `vectors` [n, dimension] under `ids` [n], all or none. Lengths are made 1.

        Raises ValueError for a wrong shape, a vector that is zero or not finite, and an id given twice or known.
        """
        rows = self._unit_rows(vectors)
        names = _as_ids(ids)
        if len(names) != len(rows):
            raise ValueError(f"{len(names)} ids were given for {len(rows)} vectors: give one for each")
        fresh = names.tolist()
        if len(set(fresh)) < len(fresh):
            raise ValueError(f"the same id was given twice: {_first_repeated(names)}")
        with self._lock:
            if clash := [name for name in fresh if name in self._rows]:
                raise ValueError(f"id {min(clash)} is in the index already: remove it first")
            self._rows.append(names, rows)

    def remove(self, ids: Sequence[int] | Ids) -> int:
        """Remove rows and return how many were there. Unknown ids are ignored; the other rows keep their order."""
        names = _as_ids(ids)
        with self._lock:
            gone = {name for name in names.tolist() if name in self._rows}
            self._rows.drop(gone)
            return len(gone)

    def scores(self, query: Vectors) -> tuple[Ids, Vectors]:
        """Every row's cosine to `query` [dimension]: ids int64 [n] and cosines float32 [n], -1 to 1.

        In the order of addition, which removals leave as it is. Equal rows have equal cosines. Raises ValueError for a
        wrong shape and a query that is zero or not finite.
        """
        unit = self._unit_query(query)
        with self._lock:
            blocks = self._rows.blocks
        if not blocks:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        products = np.concatenate([block.scores(unit) for block in blocks])
        return np.concatenate([block.ids[: block.count] for block in blocks]), np.clip(products, -1.0, 1.0)

    def vectors(self, ids: Sequence[int] | Ids) -> Vectors:
        """The unit vectors under `ids` [n]: float32 [n, dimension]. Raises KeyError for an unknown id."""
        names = _as_ids(ids)
        with self._lock:
            return self._rows.gather(names.tolist())

    def search(self, vectors: Vectors, k: int, within: Collection[int] | None = None) -> list[list[Hit]]:
        """For each query of `vectors` [n, dimension], its `k` nearest rows, or all when there are fewer.

        Nearest first, equal scores by lower id. `within` limits the search to these ids; unknown ones are ignored.
        Raises ValueError for a wrong shape, a vector that is zero or not finite, and k < 0.
        """
        if k < 0:
            raise ValueError(f"k must be 0 or more, not {k}")
        queries = self._unit_rows(vectors)
        if within is None:
            return [_nearest(*self.scores(query), k) for query in queries]
        with self._lock:
            names = np.fromiter((name for name in set(within) if name in self._rows), np.int64)
            rows = self._rows.gather(names.tolist())
        return [_nearest(names, np.clip(inner_products(rows, query), -1.0, 1.0), k) for query in queries]

    def _unit_query(self, query: Vectors) -> Vectors:
        if np.ndim(query) != 1:
            raise ValueError(f"a query must have shape [{self.dimension}], not {list(np.shape(query))}")
        unit: Vectors = self._unit_rows(query[None, :])[0]
        return unit

    def _unit_rows(self, vectors: Vectors) -> Vectors:
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"vectors must have shape [n, {self.dimension}], not {list(rows.shape)}")
        units = np.empty_like(rows)
        for begin in range(0, len(rows), _PIECE):
            wide = rows[begin : begin + _PIECE].astype(np.float64)
            lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
            if not np.isfinite(lengths).all():
                raise ValueError(f"vector {begin + int(np.argmin(np.isfinite(lengths)))} holds NaN or infinity")
            if not lengths.all():
                raise ValueError(f"vector {begin + int(np.argmin(lengths))} is zero and has no direction")
            units[begin : begin + _PIECE] = wide / lengths[:, None]
        return units


def _nearest(ids: Ids, scores: Vectors, k: int) -> list[Hit]:
    """The best `k`, ties at the cut included before they are broken by id."""
    if 0 < k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= least)
        ids, scores = ids[kept], scores[kept]
    order = np.lexsort((ids, -scores))[:k]
    return [Hit(int(ids[n]), float(scores[n])) for n in order]


def _as_ids(ids: Sequence[int] | Ids) -> Ids:
    names = np.asarray(ids if len(ids) else np.empty(0, np.int64))
    if names.ndim != 1 or names.dtype.kind != "i":
        raise ValueError("ids must be a flat list of 64-bit integers")
    return names.astype(np.int64)


def _first_repeated(names: Ids) -> int:
    values, counts = np.unique(names, return_counts=True)
    return int(values[np.argmax(counts > 1)])
