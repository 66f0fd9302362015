"""A turn under way: it runs in a task of the server's own, so that it outlives the request that began it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import anyio

from app.chat.ask import Mode, Outcome, Turn
from app.chat.piece import Piece
from app.chat.speak import Speech
from app.keyed import WHOLE
from app.settings import OnDisconnect
from app.tables import now


@dataclass(frozen=True, slots=True)
class Leave:
    """What happens when nobody listens any more: `abort`, or `finish`, for at most so many seconds."""

    policy: OnDisconnect
    seconds: float


class Running:
    """A turn under way.

    `speech` is what it has said so far, its first reply where it gives several. It has `ended` once
    what was said is stored.
    """

    def __init__(
        self, turn: Turn, speeches: Sequence[Speech], source: AsyncGenerator[Piece, None], leave: Leave, mode: Mode
    ) -> None:
        self.turn = turn
        self.mode = mode
        self.created_at = now()
        self.speech = speeches[0]
        self.leave = leave
        self.ended = False
        self._source = source
        self._pieces: list[Piece] = []
        self._scope = anyio.CancelScope()
        self._changed = asyncio.Event()
        self._listeners = 0
        self._deadline: asyncio.TimerHandle | None = None

    def stop(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End it now; what was said is kept. One that is over stays as it was."""
        if self.speech.outcome is None:
            self.speech.outcome, self.speech.error = outcome, error
            self._scope.cancel()

    async def speak(self) -> None:
        """Run to the end. Its row is there (`Speech.begun`) before anything is handed on or stored."""
        if not self._listeners:
            self._wait_for_listeners()
        try:
            with self._scope:
                async with aclosing(self._source) as pieces:
                    async for piece in pieces:
                        if self.speech.begun and not self._pieces:
                            # Whoever stops the turn does not stop this, or nobody could tell how it ended.
                            with anyio.CancelScope(shield=True):
                                await self.speech.begun
                        self._pieces.append(piece)
                        self._wake()
        except Exception as error:
            self.speech.outcome, self.speech.error = "failed", error

    def end(self) -> None:
        """Tell everyone that it is over."""
        self.ended = True
        if self._deadline:
            self._deadline.cancel()
        self._wake()

    @property
    def whole(self) -> bool:
        """Whether it came to its end, or to the one that was asked for."""
        return self.speech.error is None and self.speech.outcome in WHOLE

    async def changed(self) -> None:
        """Wait until it has said more or has ended."""
        if not self.ended:
            await self._changed.wait()

    async def over(self) -> None:
        """Wait until it has ended."""
        while not self.ended:
            await self._changed.wait()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """All it says, from the first piece on; raises what broke it off."""
        heard = 0
        async with self.listening():
            while heard < len(self._pieces) or not self.ended:
                if heard == len(self._pieces):
                    await self._changed.wait()
                    continue
                heard += 1
                yield self._pieces[heard - 1]
        if self.speech.error:
            raise self.speech.error

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While somebody does, the turn goes on; when the last one leaves, `leave` says what happens."""
        self._listeners += 1
        if self._deadline:
            self._deadline.cancel()
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners and not self.ended:
                await self._left_alone()

    async def _left_alone(self) -> None:
        if self.leave.policy == "finish":
            self._wait_for_listeners()
            return
        self.stop("hung_up")
        # Who listened was cancelled, and would be again: what was said is stored before the request is over.
        with anyio.CancelScope(shield=True):
            await self.over()

    def _wait_for_listeners(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self.leave.seconds, self.stop, "hung_up")

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
