"""Several servers of the same language model as one engine."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

from models.engine import EngineBroke, EngineError, EngineUnavailable, Event, Sampling
from models.scene import Message
from models.upstream import STREAMS, UpstreamEngine

log = logging.getLogger("moodline.replicas")
T = TypeVar("T")

LOOK_SECONDS = 2.0
"""Between two looks at every server: so long one that died is asked in vain, and one that came back is left out."""


class Replicas:
    """Speaks through whichever of `engines` a session belongs to, so that its prefix is in that one's cache.

    A session goes to the living server with the highest hash of both (rendezvous hashing: when one dies only its own
    sessions move, and they come back with it). Where a server can't begin, or is silent and does not answer when it is
    looked at either, the next in that order is asked; a reply that has begun stays where it is. A request without a
    session goes where least is under way.
    """

    def __init__(self, engines: Sequence[UpstreamEngine]) -> None:
        self._engines = list(engines)
        self._troubles: dict[UpstreamEngine, EngineError] = {}
        self._under_way = dict.fromkeys(self._engines, 0)
        self._waiting: dict[UpstreamEngine, set[asyncio.Timeout]] = {engine: set() for engine in self._engines}
        self._looking: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The first name that a server gave."""
        return next((engine.name for engine in self._engines if engine.name), "")

    @property
    def context_length(self) -> int:
        """What the smallest holds."""
        return min(engine.context_length for engine in self._engines)

    @property
    def streams(self) -> int:
        """So many for each."""
        return STREAMS * len(self._engines)

    @property
    def abilities(self) -> frozenset[str]:
        """What all of them can do."""
        return frozenset.intersection(*(engine.abilities for engine in self._engines))

    @property
    def opened(self) -> str:
        """What the template of the first that told begins a thought with."""
        return next((engine.opened for engine in self._engines if engine.opened), "")

    async def start(self) -> None:
        """Connect to all, and look at them from now on. Raises the first one's `EngineError` when none is there."""
        await asyncio.gather(*(self._try(engine, engine.start) for engine in self._engines))
        self._looking = self._looking or asyncio.create_task(self._look())
        await self.check()

    async def close(self) -> None:
        """Close all connections; streams under way end with `EngineBroke`."""
        if self._looking:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        await asyncio.gather(*(engine.close() for engine in self._engines))

    async def check(self) -> None:
        """Raise `EngineUnavailable` unless a server is there."""
        await self._first("", lambda engine: engine.check())

    async def drop_adapter(self, name: str) -> None:
        """Let all forget a stored adapter; one that can't be reached forgets it when it ends."""
        await asyncio.gather(*(engine.drop_adapter(name) for engine in self._engines), return_exceptions=True)

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, counted by one that is there."""
        return await self._first("", lambda engine: engine.count(texts))

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield pieces of text, then one `Finish`. Raises `EngineError`s, those of the last server that was asked."""
        trouble: EngineUnavailable | None = None
        for engine in self._order(session):
            self._under_way[engine] += 1
            try:
                async with aclosing(engine.stream(messages, sampling, session=session, owner=owner)) as events:
                    yield await self._begun(engine, events)
                    async for event in events:
                        yield event
                return
            except EngineUnavailable as error:
                # It has said nothing, or it would have broken.
                self._leave_out(engine, error)
                trouble = error
            except EngineBroke as error:
                self._leave_out(engine, error)
                raise
            finally:
                self._under_way[engine] -= 1
        assert trouble
        raise trouble

    async def _begun(self, engine: UpstreamEngine, events: AsyncGenerator[Event, None]) -> Event:
        """The first event; `EngineUnavailable` as soon as a look finds that the server hangs and another is there."""
        waiting = asyncio.timeout(None)
        self._waiting[engine].add(waiting)
        try:
            async with waiting:
                return await anext(events)
        except TimeoutError as error:
            raise self._troubles.get(engine) or EngineUnavailable(f"{engine.url} does not answer.") from error
        finally:
            self._waiting[engine].discard(waiting)

    def _order(self, session: str) -> list[UpstreamEngine]:
        """Whom to ask, in turn: those in trouble last, in case all are."""

        def rank(engine: UpstreamEngine) -> tuple[bool, int, bytes]:
            score = hashlib.blake2b(f"{engine.url}\0{session}".encode(), digest_size=8).digest()
            return engine not in self._troubles, 0 if session else -self._under_way[engine], score

        return sorted(self._engines, key=rank, reverse=True)

    async def _first(self, session: str, ask: Callable[[UpstreamEngine], Awaitable[T]]) -> T:
        """The answer of the first that gives one."""
        trouble: EngineUnavailable | None = None
        for engine in self._order(session):
            try:
                return await ask(engine)
            except EngineUnavailable as error:
                self._leave_out(engine, error)
                trouble = trouble or error
        assert trouble
        raise trouble

    async def _look(self) -> None:
        """Look at all of them, again and again."""
        while True:
            await asyncio.gather(*(self._try(engine, engine.check) for engine in self._engines))
            await asyncio.sleep(LOOK_SECONDS)

    async def _try(self, engine: UpstreamEngine, do: Callable[[], Awaitable[None]]) -> None:
        try:
            await do()
        except EngineError as error:
            self._leave_out(engine, error)
            return
        if self._troubles.pop(engine, None):
            log.info("%s is there again.", engine.url)

    def _leave_out(self, engine: UpstreamEngine, error: EngineError) -> None:
        if engine not in self._troubles:
            log.warning("%s is left out: %s", engine.url, error)
        self._troubles[engine] = error
        if len(self._troubles) < len(self._engines):
            for waiting in self._waiting[engine]:
                if not waiting.expired():
                    waiting.reschedule(asyncio.get_running_loop().time())
