"""An exact index of unit vectors under integer ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors

Ids = NDArray[np.int64]

# An id in faiss's list, its map from ids to rows, and our set (measured over 100,000 rows).
_BYTES_PER_ID = 160


@dataclass(frozen=True)
class Hit:
    """A row that was found. `score` is the cosine, -1 to 1, higher is nearer."""

    id: int
    score: float


class Index:
    """Rows of one encoder, searched exactly by inner product (faiss IndexFlatIP). Safe to use from several threads."""

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"an index needs a dimension of at least 1, not {dimension}")
        self.dimension = dimension
        self._faiss = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._known: set[int] = set()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def ids(self) -> frozenset[int]:
        """All ids."""
        with self._lock:
            return frozenset(self._known)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take."""
        return len(self._known) * (4 * self.dimension + _BYTES_PER_ID)

    def add(self, ids: Sequence[int] | Ids, vectors: Vectors) -> None:
        """Add rows `vectors` [n, dimension] under `ids` [n], all or none. Lengths are made 1.

        Raises ValueError for a wrong shape, a vector that is zero or not finite, and an id given twice or known.
        """
        rows = self._unit_rows(vectors)
        names = _as_ids(ids)
        if len(names) != len(rows):
            raise ValueError(f"{len(names)} ids were given for {len(rows)} vectors: give one for each")
        fresh = set(names.tolist())
        if len(fresh) < len(names):
            raise ValueError(f"the same id was given twice: {_first_repeated(names)}")
        with self._lock:
            if clash := fresh & self._known:
                raise ValueError(f"id {min(clash)} is in the index already: remove it first")
            if len(names):
                self._faiss.add_with_ids(rows, names)
                self._known |= fresh

    def remove(self, ids: Sequence[int] | Ids) -> int:
        """Remove rows and return how many were there. Unknown ids are ignored."""
        names = _as_ids(ids)
        with self._lock:
            gone = self._known.intersection(names.tolist())
            if gone:
                self._faiss.remove_ids(_selector(gone))
                self._known -= gone
            return len(gone)

    def search(self, vectors: Vectors, k: int, within: Collection[int] | None = None) -> list[list[Hit]]:
        """For each query of `vectors` [n, dimension], its `k` nearest rows, or all when there are fewer.

        Nearest first, equal scores by lower id. `within` limits the search to these ids; unknown ones are ignored.
        Raises ValueError for a wrong shape, a vector that is zero or not finite, and k < 0.
        """
        if k < 0:
            raise ValueError(f"k must be 0 or more, not {k}")
        queries = self._unit_rows(vectors)
        with self._lock:
            allowed = None if within is None else self._known.intersection(within)
            size = len(self._known) if allowed is None else len(allowed)
            if not size or not k:
                return [[] for _ in queries]
            # One query at a time, so that the ties of one do not widen the search of the others.
            return [self._nearest(query[None, :], k, size, allowed) for query in queries]

    def _nearest(self, query: Vectors, k: int, size: int, allowed: set[int] | None) -> list[Hit]:
        """Asks for one more than k, and for more while rows that tie with the k-th may be left out."""
        selector = None if allowed is None else _selector(allowed)  # named: faiss keeps only a pointer to it
        params = faiss.SearchParameters()
        params.sel = selector
        wanted = min(k + 1, size)
        while True:
            scores, ids = self._faiss.search(query, wanted, params=params)
            if wanted == size or scores[0, -1] < scores[0, k - 1]:
                break
            wanted = min(wanted * 2, size)
        order = np.lexsort((ids[0], -scores[0]))[:k]
        return [Hit(int(ids[0, n]), float(np.clip(scores[0, n], -1.0, 1.0))) for n in order]

    def _unit_rows(self, vectors: Vectors) -> Vectors:
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"vectors must have shape [n, {self.dimension}], not {list(rows.shape)}")
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(lengths).all():
            raise ValueError(f"vector {int(np.argmin(np.isfinite(lengths)))} holds NaN or infinity")
        if not lengths.all():
            raise ValueError(f"vector {int(np.argmin(lengths))} is zero and has no direction")
        return np.ascontiguousarray(rows / lengths, dtype=np.float32)


def _as_ids(ids: Sequence[int] | Ids) -> Ids:
    names = np.asarray(ids if len(ids) else np.empty(0, np.int64))
    if names.ndim != 1 or names.dtype.kind != "i":
        raise ValueError("ids must be a flat list of 64-bit integers")
    return names.astype(np.int64)


def _selector(ids: Collection[int]) -> faiss.IDSelectorBatch:
    return faiss.IDSelectorBatch(np.fromiter(ids, np.int64, len(ids)))


def _first_repeated(names: Ids) -> int:
    values, counts = np.unique(names, return_counts=True)
    return int(values[np.argmax(counts > 1)])
