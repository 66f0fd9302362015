"""The encoder and the emotion tagger, off the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
import numpy as np
from anyio.to_thread import run_sync

from app.errors import Unavailable
from retrieval.emotion import EmotionTagger
from retrieval.encoder import Encoder, Vectors

PIECE = 16
"""Passages embedded before others get their turn: a query must not wait for the whole batch of an import."""
QUERIES = 32
"""Queries of different requests embedded together."""
CALL = 500
"""Bytes of text that take as long as a call by itself: one query 9 ms, a passage of 170 bytes in a batch 2.5 ms."""
FULL = 1500
"""Bytes after which a call grows no more: it would gain little and keep all that are in it waiting."""
LONGEST = 2200
"""Bytes of a text that fill the window of 512 tokens, in Chinese as in English."""

Load = Callable[[], tuple[Encoder, EmotionTagger]]
Encode = Callable[[Sequence[str]], Vectors]


@dataclass(slots=True, eq=False)
class Job:
    """Some texts of one request, their `sizes` in bytes, and where it waits for vectors: cancelled when it gave up."""

    texts: Sequence[str]
    sizes: list[int]
    done: asyncio.Future[Vectors]


class Embedding:
    """Runs one encoder in `threads` worker threads of its own. What arrives while they are busy goes in one call.

    Queries go before passages. A text that the encoder fails on fails its own request and no other.

    Raises:
        Unavailable: on any call before `start` has finished, or after it failed.
    """

    def __init__(self, load: Load, threads: int = 1) -> None:
        self._load = load
        self._loaded: tuple[Encoder, EmotionTagger] | None = None
        self._failure = ""
        self._threads = threads
        self._limiter = anyio.CapacityLimiter(threads)
        self._queries: deque[Job] = deque()
        self._passages: deque[Job] = deque()
        self._working: set[asyncio.Task[None]] = set()

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

    @property
    def tagger(self) -> EmotionTagger:
        """What hears emotions in its vectors. Raises Unavailable while it is loading."""
        return self._parts()[1]

    async def queries(self, texts: Sequence[str]) -> Vectors:
        """Embed texts that search: float32 [n, d]."""
        return await self._embed(self._queries, texts)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """Embed texts that are searched: float32 [n, d]."""
        return await self._embed(self._passages, texts)

    async def feel(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        """Emotions of texts whose vectors are known: float32 [n, 8]."""
        # Not behind the encoder's thread: it is one small product, and would wait for what others embed.
        return await run_sync(self._parts()[1].tag, texts, vectors)

    async def _embed(self, queue: deque[Job], texts: Sequence[str]) -> Vectors:
        """A piece queues when the one before it is done, so that requests with many texts take turns."""
        self._parts()
        pieces = []
        for begin in range(0, max(len(texts), 1), PIECE):
            piece = texts[begin : begin + PIECE]
            job = Job(piece, [_size(text) for text in piece], asyncio.get_running_loop().create_future())
            queue.append(job)
            if len(self._working) < self._threads:
                task = asyncio.create_task(self._work())
                self._working.add(task)
            pieces.append(await job.done)
        return np.concatenate(pieces)

    async def _work(self) -> None:
        encoder = self.encoder
        try:
            while True:
                if jobs := _together(self._queries, QUERIES):
                    await self._encode(encoder.encode_queries, jobs)
                elif jobs := _together(self._passages, PIECE):
                    await self._encode(encoder.encode_passages, jobs)
                else:
                    return
        finally:
            # Here and not in a callback, which runs later: a job that comes in between would wait for nobody.
            self._working.discard(asyncio.current_task())

    async def _encode(self, encode: Encode, jobs: list[Job]) -> None:
        try:
            vectors = await run_sync(encode, [text for job in jobs for text in job.texts], limiter=self._limiter)
            parts = np.split(vectors, np.cumsum([len(job.texts) for job in jobs])[:-1])
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    await self._encode(encode, [job])
            elif not jobs[0].done.done():
                jobs[0].done.set_exception(error)
        except asyncio.CancelledError:
            for job in jobs:
                job.done.cancel()
            raise
        else:
            for job, rows in zip(jobs, parts, strict=True):
                if not job.done.done():
                    job.done.set_result(rows)

    def _parts(self) -> tuple[Encoder, EmotionTagger]:
        if self._loaded is None:
            raise Unavailable(self._failure or "The encoder is still loading; try again in a few seconds.")
        return self._loaded


def _together(queue: deque[Job], most: int) -> list[Job]:
    """Takes from the queue what goes into one call: the first job, and of the others what is not cheaper by itself."""
    taken: list[Job] = []
    left: list[Job] = []
    sizes: list[int] = []
    while queue and len(sizes) < most:
        job = queue.popleft()
        if job.done.done():
            continue
        more = job.sizes
        joined = _cost(sizes + more)
        if not taken or (len(sizes + more) <= most and joined <= min(_cost(sizes) + _cost(more), CALL + FULL)):
            taken.append(job)
            sizes += more
        else:
            left.append(job)
    queue.extendleft(reversed(left))
    return taken


def _size(text: str) -> int:
    """About the bytes of a text that are embedded, its prompt among them."""
    return min(len(text[:LONGEST].encode("utf-8", "replace")), LONGEST) + 16


def _cost(sizes: list[int]) -> int:
    """Of a call, in bytes, as if every text were padded to the longest: most encoders do that. The packaged one doesn't
    (`retrieval.bert`) and takes less; there two calls instead of one lose `CALL`."""
    return CALL + len(sizes) * max(sizes, default=0)
