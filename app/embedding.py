"""The encoder and the emotion tagger, off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import numpy as np
from anyio.to_thread import run_sync

from app.errors import Unavailable
from retrieval.emotion import EmotionTagger
from retrieval.encoder import Encoder, Vectors

PIECE = 16
"""Passages embedded before others get their turn: a query must not wait for the whole batch of an import."""

Load = Callable[[], tuple[Encoder, EmotionTagger]]


class Embedding:
    """Runs one encoder in worker threads, `threads` texts batches at a time.

    Raises:
        Unavailable: on any call before `start` has finished, or after it failed.
    """

    def __init__(self, load: Load, threads: int = 1) -> None:
        self._load = load
        self._loaded: tuple[Encoder, EmotionTagger] | None = None
        self._failure = ""
        self._limiter = anyio.CapacityLimiter(threads)

    async def start(self) -> None:
        """Load the weights."""
        try:
            self._loaded = await run_sync(self._load, limiter=self._limiter)
        except Exception as error:
            self._failure = f"The encoder could not be loaded: {error}"
            raise

    @property
    def encoder(self) -> Encoder:
        """The loaded encoder."""
        return self._parts()[0]

    async def queries(self, texts: Sequence[str]) -> Vectors:
        """Embed texts that search: float32 [n, d]."""
        return await run_sync(self._parts()[0].encode_queries, texts, limiter=self._limiter)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """Embed texts that are searched: float32 [n, d]."""
        encode = self._parts()[0].encode_passages
        starts = range(0, max(len(texts), 1), PIECE)
        pieces = [await run_sync(encode, texts[start : start + PIECE], limiter=self._limiter) for start in starts]
        return np.concatenate(pieces)

    async def feel(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        """Emotions of texts whose vectors are known: float32 [n, 8]."""
        return await run_sync(self._parts()[1].tag, texts, vectors, limiter=self._limiter)

    def _parts(self) -> tuple[Encoder, EmotionTagger]:
        if self._loaded is None:
            raise Unavailable(self._failure or "The encoder is still loading; try again in a few seconds.")
        return self._loaded
