"""The turns under way in this process: begun, written down while they run, cancelled from anywhere, waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextvars import Context
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError

from app.chat import progress
from app.chat.ask import Mode, Turn
from app.chat.piece import Piece
from app.chat.progress import Beat
from app.chat.running import Leave, Running
from app.chat.speak import Speech
from app.errors import AppError
from app.keyed import Call
from app.services import Services
from models.engine import EngineBroke, EngineError

log = logging.getLogger("moodline")

BEAT = 0.5
"""Seconds between two looks at the turns' rows: what was said is written, and who is to be cancelled is read."""
SIGN_OF_LIFE = 10.0
"""Seconds after which a row is written although nothing was said."""
PRUNE_EVERY = 600.0
"""Seconds."""
STORING_SECONDS = 10.0
"""What may take the turns to store what they said, when the server ends."""
STOPPED = "The server was stopped while this turn was spoken; what it had said is kept."


class UnderWay:
    """The turns under way in this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turns: dict[str, Running] = {}
        self._written: dict[str, tuple[int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._pruned = 0.0
        self._close_by: float | None = None

    def begin(
        self,
        turn: Turn,
        speeches: Sequence[Speech],
        source: AsyncGenerator[Piece, None],
        leave: Leave,
        *,
        mode: Mode = "say",
        call: Call | None = None,
    ) -> Running:
        """Let a turn run; `call` is the one with a key that asks for it."""
        running = Running(turn, speeches, source, leave, mode)
        speeches[0].begun = self.start(self._record(turn, mode, call)) if turn.ask.store else None
        self._turns[turn.id] = running
        self.start(self._run(running, call))
        return running

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do some work in a task that the server waits for when it ends.

        On nobody's behalf (`db.ON_BEHALF_OF`): by what a turn stores its row is told of, and not the call.
        """
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def find(self, owner: str, turn_id: str) -> Running | None:
        """A turn of this owner that runs here."""
        running = self._turns.get(turn_id)
        return running if running and running.turn.ask.caller.owner == owner else None

    def close_within(self, seconds: float) -> None:
        """Say that the server ends, and how long turns have left."""
        self._close_by = monotonic() + seconds

    @property
    def closing(self) -> bool:
        """Whether the server ends. Whoever waits for another process's work may as well wait at another's door."""
        return self._close_by is not None

    def stop(self) -> None:
        """End the turns now; what they said is stored."""
        for running in list(self._turns.values()):
            running.stop("failed", EngineBroke(STOPPED))

    async def close(self) -> None:
        """Wait for what runs, as long as there is time; then stop the turns and store what they said."""
        left = max(0.0, (self._close_by or monotonic()) - monotonic())
        if work := self._tasks - {self._keeper}:
            await asyncio.wait(work, timeout=left)
        if self._keeper:
            self._keeper.cancel()
        self.stop()
        if self._tasks:
            _done, stuck = await asyncio.wait(self._tasks, timeout=STORING_SECONDS)
            for task in stuck:
                task.cancel()

    async def _record(self, turn: Turn, mode: Mode, call: Call | None) -> None:
        async with self._services.db.write() as db:
            await progress.begin(db, turn, mode, call)
        self._written[turn.id] = (0, monotonic())
        if self._keeper is None:
            self._keeper = self.start(self._keep())

    async def _run(self, running: Running, call: Call | None) -> None:
        try:
            await running.speak()
            if begun := running.speech.begun:
                await asyncio.wait([begun])
                running.speech.error = running.speech.error or begun.exception()
                await self._tell_end(running)
        except SQLAlchemyError as error:
            running.speech.error = running.speech.error or error
            log.exception("turn %s: its end could not be written down", running.turn.id)
        finally:
            self._turns.pop(running.turn.id)
            self._written.pop(running.turn.id, None)
            if call and not running.whole:
                call.broke.set()
            running.end()

    async def _tell_end(self, running: Running) -> None:
        """What was said is stored by then, and the turn's end with it; else its end is told here."""
        turn_id, speech = running.turn.id, running.speech
        if speech.error and not isinstance(speech.error, EngineError | AppError):
            log.error("turn %s broke off", turn_id, exc_info=speech.error)
        if not speech.remembered:
            async with self._services.db.write() as db:
                await progress.end(db, turn_id, speech, "failed" if speech.error else speech.outcome or "hung_up")

    async def _keep(self) -> None:
        """While there are turns, keep their rows up to date."""
        while self._written:
            await asyncio.sleep(BEAT)
            try:
                await self._beat()
            except SQLAlchemyError as error:
                log.warning("the turns under way could not be written down, and will be: %s", error)
        self._keeper = None

    async def _beat(self) -> None:
        moment = monotonic()
        due = [
            Beat(turn_id, self._turns[turn_id].speech.said)
            for turn_id, (length, at) in self._written.items()
            if len(self._turns[turn_id].speech.said) > length or moment - at > SIGN_OF_LIFE
        ]
        known = list(self._written)
        async with self._services.db.write() if due else self._services.db.read() as db:
            await progress.beat(db, due)
            wishes = await progress.wishes(db, known)
            if due and moment - self._pruned > PRUNE_EVERY:
                self._pruned = moment
                await progress.prune(db, self._services.settings.replay_hours)
        for beat in due:
            if beat.id in self._written:
                self._written[beat.id] = (len(beat.text), moment)
        for running in filter(None, map(self._turns.get, known)):
            wish = wishes.get(running.turn.id)
            if wish is None:
                running.stop("failed", progress.erased())
            elif wish:
                running.stop("cancelled")


def of_request(request: Request) -> UnderWay:
    """The turns under way in the process that answers."""
    under_way: UnderWay = request.app.state.under_way
    return under_way


UnderWayDep = Annotated[UnderWay, Depends(of_request)]
