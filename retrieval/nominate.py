"""Which of very many rows may be near a query: found fast, judged exactly by the index that asks.

Both kinds are built once from blocks that won't grow, and never changed; the index leaves out rows removed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import faiss
import numpy as np

from retrieval.encoder import Vectors
from retrieval.rows import Block, Ids, inner_products

_TRAINING = 64
"""Rows per cell that the centres are computed from, in 10 rounds of k-means."""

_PROBED = 4
"""A search looks into one cell in four: recall@10 is 0.97 (see LOG.md), and what it costs grows as the rows do."""

_MARGIN = 1e-3
"""More than a GPU's inner product of unit vectors differs from the CPU's."""


@dataclass(frozen=True)
class Nominees:
    """Rows that may be near. No other row has a cosine above `bound`, which is 1 when nothing is known of them."""

    ids: Ids
    bound: float


class Cells:
    """Rows in cells around centres, 8 bits a number: faiss's IVF (arXiv 2401.08281). Approximate."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.covered = len(blocks)
        self._names = _names(blocks)
        cells = 2 ** round(np.log2(len(self._names)) / 2)
        dimension = blocks[0].vectors.shape[1]
        kind = faiss.ScalarQuantizer.QT_8bit
        self._faiss: Any = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimension), dimension, cells, kind, faiss.METRIC_INNER_PRODUCT
        )
        self._faiss.cp.spherical, self._faiss.cp.niter, self._faiss.cp.max_points_per_centroid = True, 10, _TRAINING
        self._faiss.nprobe = max(cells // _PROBED, 1)
        faiss.omp_set_num_threads(1)  # of this thread's work only: the other cores serve requests meanwhile
        stride = max(len(self._names) // (cells * _TRAINING), 1)
        self._faiss.train(np.concatenate([block.vectors[: block.count : stride] for block in blocks]))
        for block in blocks:
            self._faiss.add(block.vectors[: block.count])
        self._centres: Vectors = self._faiss.quantizer.reconstruct_n(0, cells)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def nbytes(self) -> int:
        """About how much memory they take."""
        return len(self._names) * (int(self._faiss.code_size) + 16) + self._centres.nbytes

    def nominate(self, query: Vectors, wanted: int) -> Nominees:
        """About the `wanted` nearest rows to the unit `query` [dimension]."""
        # The cells are chosen here, because faiss would wait for its pool of threads to choose them.
        near = inner_products(self._centres, query)
        chosen = np.argpartition(-near, self._faiss.nprobe - 1)[: self._faiss.nprobe]
        _, found = self._faiss.search_preassigned(query[None], wanted, chosen[None], near[chosen][None])
        return Nominees(self._names[found[0][found[0] >= 0]], 1.0)


class Flat:
    """All rows once more in a flat index of faiss, such as a GPU's. What it can't be sure of, the bound tells."""

    def __init__(self, blocks: Sequence[Block], flat: Any) -> None:
        self.covered = len(blocks)
        self._names = _names(blocks)
        self._faiss = flat
        self._lock = Lock()  # a GPU's index serves one thread at a time
        for block in blocks:
            self._faiss.add(block.vectors[: block.count])

    def __len__(self) -> int:
        return len(self._names)

    nbytes = 0
    """Of this machine's own memory."""

    def nominate(self, query: Vectors, wanted: int) -> Nominees:
        """The `wanted` nearest rows to the unit `query` [dimension]."""
        with self._lock:
            scores, found = self._faiss.search(query[None], min(wanted, len(self._names)))
        bound = float(scores[0, -1]) + _MARGIN if wanted < len(self._names) else -1.0
        return Nominees(self._names[found[0]], bound)


def build(blocks: Sequence[Block]) -> Cells | Flat:
    """On a GPU when faiss was built for one and there is one, else in cells."""
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        return Flat(blocks, faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), blocks[0].vectors.shape[1]))
    return Cells(blocks)


def _names(blocks: Sequence[Block]) -> Ids:
    return np.concatenate([block.ids[: block.count] for block in blocks])
