"""An index of unit vectors under integer ids: exact, and approximate where there are very many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock, Thread

import numpy as np

from retrieval.encoder import Vectors
from retrieval.nominate import Cells, Flat, build
from retrieval.rows import Block, Ids, Rows, inner_products

__all__ = ["Hit", "Ids", "Index"]

NOMINATE_FROM = 200_000
"""Rows of 384 numbers that take longer to search than a query takes to embed (10 ms)."""

_NOMINEES = 4
"""Rows named for each that is wanted, and judged exactly."""

_MOST = 256
"""The most rows that nominees are asked for; who wants more looks at all."""

_PIECE = 512
"""Rows widened at once to measure their lengths: what fits a core's cache."""


@dataclass(frozen=True)
class Hit:
    """A row that was found. `score` is the cosine, -1 to 1, higher is nearer."""

    id: int
    score: float


class Index:
    """Rows of one encoder, searched by inner product. Safe to use from several threads.

    A search works on the rows as they were when it began; it keeps nobody from adding, and nobody keeps it. From
    `nominate_from` rows on, a thread sorts them into cells (or copies them to a GPU), once, and again when a quarter of
    them has changed; until it is done all rows are looked at, and afterwards those that are newer.
    """

    def __init__(self, dimension: int, *, nominate_from: int = NOMINATE_FROM) -> None:
        if dimension < 1:
            raise ValueError(f"an index needs a dimension of at least 1, not {dimension}")
        self.dimension = dimension
        self._rows = Rows(dimension)
        self._lock = Lock()
        self._nominate_from = nominate_from
        self._nominators: Cells | Flat | None = None
        self._builder: Thread | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> frozenset[int]:
        """All ids."""
        with self._lock:
            return frozenset(self._rows)

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        source = self._nominators
        return self._rows.nbytes + (source.nbytes if source else 0)

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
            self._build_if_due()

    def remove(self, ids: Sequence[int] | Ids) -> int:
        """Remove rows and return how many were there. Unknown ids are ignored; the other rows keep their order."""
        names = _as_ids(ids)
        with self._lock:
            gone = {name for name in names.tolist() if name in self._rows}
            self._rows.drop(gone)
            if len(self._rows) * 2 < self._nominate_from:
                self._nominators = None
            return len(gone)

    def scores(self, query: Vectors) -> tuple[Ids, Vectors]:
        """Every row's cosine to `query` [dimension]: ids int64 [n] and cosines float32 [n], -1 to 1.

        In the order of addition, which removals leave as it is. Equal rows have equal cosines. Raises ValueError for a
        wrong shape and a query that is zero or not finite.
        """
        if np.ndim(query) != 1:
            raise ValueError(f"a query must have shape [{self.dimension}], not {list(np.shape(query))}")
        unit = self._unit_rows(query[None, :])[0]
        with self._lock:
            blocks = self._rows.blocks
        return _scored(blocks, unit)

    def vectors(self, ids: Sequence[int] | Ids) -> Vectors:
        """The unit vectors under `ids` [n]: float32 [n, dimension]. Raises KeyError for an unknown id."""
        names = _as_ids(ids)
        with self._lock:
            return self._rows.gather(names.tolist())

    def search(
        self, vectors: Vectors, k: int, within: Collection[int] | None = None, *, exact: bool = False
    ) -> list[list[Hit]]:
        """For each query of `vectors` [n, dimension], its `k` nearest rows, or all when there are fewer.

        Nearest first, equal scores by lower id. `within` limits the search to these ids; unknown ones are ignored.
        An index of very many rows may miss some of the nearest, unless `within` is given or `exact` is asked for.
        Raises ValueError for a wrong shape, a vector that is zero or not finite, and k < 0.
        """
        if k < 0:
            raise ValueError(f"k must be 0 or more, not {k}")
        queries = self._unit_rows(vectors)
        if within is None:
            return [self._nearest_nominees(query, k, exact) or self._nearest_of_all(query, k) for query in queries]
        with self._lock:
            names = np.fromiter((name for name in set(within) if name in self._rows), np.int64)
            rows = self._rows.gather(names.tolist())
        chosen = [Block(names, rows, len(names))]
        return [_nearest(*_scored(chosen, query), k) for query in queries]

    def settle(self) -> None:
        """Wait until what is being built for faster searches is in use."""
        if builder := self._builder:
            builder.join()

    def _nearest_of_all(self, query: Vectors, k: int) -> list[Hit]:
        with self._lock:
            blocks = self._rows.blocks
        return _nearest(*_scored(blocks, query), k)

    def _nearest_nominees(self, query: Vectors, k: int, exact: bool) -> list[Hit]:
        """The nearest of the nominees and of the rows that are newer; nothing when all rows must be looked at."""
        with self._lock:
            source, blocks = self._nominators, self._rows.blocks
        if source is None or not 0 < k <= _MOST or (exact and isinstance(source, Cells)):
            return []
        nominees = source.nominate(query, k * _NOMINEES)
        with self._lock:
            names = self._rows.among_first(source.covered, nominees.ids)
            rows = self._rows.gather(names.tolist())
        hits = _nearest(*_scored([Block(names, rows, len(names)), *blocks[source.covered :]], query), k)
        # Of cells' nominees so many may be gone that rows that were not named are nearer than what is left.
        enough = len(names) >= k if isinstance(source, Cells) else len(hits) == k and hits[-1].score > nominees.bound
        return hits if enough else []

    def _build_if_due(self) -> None:
        """Builds anew, in a thread, when a quarter of the rows came or went since. Searches go on as before."""
        if self._builder is not None or len(self._rows) < self._nominate_from:
            return
        full = self._rows.blocks[:-1]
        source = self._nominators
        kept = sum(block.count for block in full[: source.covered]) if source else 0
        changed = len(self._rows) - kept + (len(source) - kept if source else 0)
        if full and changed * 4 > len(self._rows):
            self._builder = Thread(target=self._build, args=(full,), name="index", daemon=True)
            self._builder.start()

    def _build(self, blocks: tuple[Block, ...]) -> None:
        try:
            built = build(blocks)
            with self._lock:
                self._nominators = built
        finally:
            self._builder = None

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


def _scored(blocks: Sequence[Block], query: Vectors) -> tuple[Ids, Vectors]:
    """The ids of all rows and their cosines to the unit `query`."""
    ids = [block.ids[: block.count] for block in blocks]
    products = [inner_products(block.vectors[: block.count], query) for block in blocks]
    if not blocks:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate(ids), np.clip(np.concatenate(products), -1.0, 1.0)


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
