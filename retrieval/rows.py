"""Unit vectors under integer ids, in memory: what an index searches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors

Ids = NDArray[np.int64]

BLOCK = 4096
"""Rows of a full block: adding copies at most one, removing copies those it touches."""

_BYTES_PER_ID = 130
"""An entry of the map from ids to places and its two integers (measured over 1,000,000 rows)."""


@dataclass(frozen=True, slots=True)
class Block:
    """The first `count` of some rows: `ids` [room], `vectors` float32 [room, dimension].

    Whoever holds a block can read it while others add and remove: what it shows never changes.
    """

    ids: Ids
    vectors: Vectors
    count: int

    def extended(self, ids: Ids, vectors: Vectors) -> Block:
        """With more rows, in place while there is room. Only the newest of a line of blocks may be extended."""
        total = self.count + len(ids)
        names, held = self.ids, self.vectors
        if total > len(names):
            room = max(total, min(2 * self.count, BLOCK))
            names, held = np.empty(room, np.int64), np.empty((room, held.shape[1]), np.float32)
            names[: self.count], held[: self.count] = self.ids[: self.count], self.vectors[: self.count]
        names[self.count : total], held[self.count : total] = ids, vectors
        return Block(names, held, total)

    def without(self, offsets: Sequence[int]) -> Block:
        """A copy that lacks some rows; the others keep their order."""
        keep = np.ones(self.count, np.bool_)
        keep[offsets] = False
        return Block(self.ids[: self.count][keep], self.vectors[: self.count][keep], int(keep.sum()))


def inner_products(rows: Vectors, query: Vectors) -> Vectors:
    """Inner products of contiguous float32 `rows` [n, dimension] with `query` [dimension]: float32 [n].

    faiss's kernel in the caller's thread. Equal rows get equal numbers wherever they lie, which a BLAS product does not
    promise, and nothing waits for threads of a pool when the cores are busy.
    """
    if rows.shape[1] < 16:  # where faiss has kernels that sum a row by its place
        short: Vectors = (rows * query).sum(axis=1)
        return short
    products = np.empty(len(rows), np.float32)
    pointer = faiss.swig_ptr
    score = faiss.fvec_inner_products_ny  # type: ignore[attr-defined]  # faiss's own types leave its kernels out
    score(pointer(products), pointer(query), pointer(rows), rows.shape[1], len(rows))
    return products


class Rows:
    """Blocks of rows, in the order of addition. One thread at a time may use it; any may read what `blocks` gave."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[Block] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: int) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take, their room included."""
        held = sum(block.ids.nbytes + block.vectors.nbytes for block in self._blocks)
        return held + _BYTES_PER_ID * len(self._places)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The rows as they are now."""
        return tuple(self._blocks)

    def append(self, ids: Ids, vectors: Vectors) -> None:
        """Add unit rows whose ids are new. The arrays are kept, not copied, where they begin a block."""
        begin = 0
        while begin < len(ids):
            tail = self._blocks[-1] if self._blocks else None
            held = 0 if tail is None or tail.count == BLOCK else tail.count
            end = min(begin + BLOCK - held, len(ids))
            if tail is not None and held:
                self._blocks[-1] = tail.extended(ids[begin:end], vectors[begin:end])
            else:
                self._blocks.append(Block(ids[begin:end], vectors[begin:end], end - begin))
            first = (len(self._blocks) - 1) * BLOCK + held
            self._places.update(zip(ids[begin:end].tolist(), range(first, first + end - begin), strict=True))
            begin = end

    def drop(self, ids: Iterable[int]) -> None:
        """Remove rows that are there; the others keep their order."""
        touched: dict[int, list[int]] = {}
        for name in ids:
            number, offset = divmod(self._places.pop(name), BLOCK)
            touched.setdefault(number, []).append(offset)
        for number, offsets in touched.items():
            block = self._blocks[number] = self._blocks[number].without(offsets)
            first = number * BLOCK
            self._places.update(zip(block.ids.tolist(), range(first, first + block.count), strict=True))

    def among_first(self, blocks: int, ids: Ids) -> Ids:
        """Those of `ids` that are in the first blocks."""
        end = blocks * BLOCK
        return np.array([name for name in ids.tolist() if self._places.get(name, end) < end], np.int64)

    def gather(self, ids: Iterable[int]) -> Vectors:
        """The vectors under `ids`, in their order: float32 [n, dimension]. Raises KeyError for an unknown id."""
        places = np.fromiter((self._places[name] for name in ids), np.int64)
        found = np.empty((len(places), self._dimension), np.float32)
        numbers, offsets = np.divmod(places, BLOCK)
        for number in np.unique(numbers):
            mine = numbers == number
            found[mine] = self._blocks[number].vectors[offsets[mine]]
        return found
