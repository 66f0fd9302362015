"""Keeps a vLLM server running: starts it, and starts it again when it dies."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from models.engine import EngineUnavailable
from models.vllm_log import Fault
from models.vllm_process import Launch, VllmProcess

log = logging.getLogger("moodline.vllm")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before it is started again; doubled each time."""
LOG_SECONDS = 10.0
"""Between two percentages of the same stage in the log."""
STEADY_SECONDS = 60.0
"""Who has answered for this long did not fail to start."""


class VllmKeeper:
    """Holds one vLLM server up. `state` says in a sentence why it can't be asked now, and is empty when it can."""

    def __init__(self, launch: Launch) -> None:
        self.key = secrets.token_hex(32)
        self.state = "vLLM has not been started."
        self._launch = launch
        self._folder = Path()
        self._process: VllmProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._worked = False
        self._log_again = dict[str, float]()

    @property
    def socket(self) -> Path:
        """The unix socket it listens on, the same in every life."""
        return self._folder / "s"

    def begin(self) -> None:
        """Start it in the background."""
        if self._keeping is None:
            # Not below our own home: the path of a socket may have 107 bytes only.
            self._folder = Path(tempfile.mkdtemp(prefix="moodline-"))
            self._settled.clear()
            self._keeping = asyncio.create_task(self._keep())

    async def first_life(self) -> None:
        """Wait until it can be asked. Raises `EngineUnavailable` when its first start failed."""
        await self._settled.wait()
        self.check()

    def check(self) -> None:
        """Raise `EngineUnavailable` unless it can be asked."""
        if self.state:
            raise EngineUnavailable(self.state)

    async def close(self) -> None:
        """End it."""
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        if self._process:
            await self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.state = "vLLM was stopped."
        self._settled.set()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                answered, fault = await self._live()
            except OSError as error:
                answered, fault = 0.0, Fault(f"vLLM can't be started: {error}.")
            # What worked once may work again; only a first start can be beyond hope.
            hopeless = fault.final and not self._worked
            pause = FIRST_PAUSE if answered >= STEADY_SECONDS else pause
            self.state = fault.sentence if hopeless else f"{fault.sentence} It is started again in {pause:g} s."
            log.error("%s", self.state)
            self._settled.set()
            if hopeless:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _live(self) -> tuple[float, Fault]:
        """One life: for how many seconds it answered, and why it ended."""
        self._tell("vLLM is starting.")
        process = self._process = VllmProcess(self._launch, self._folder, self.key, self._tell)
        await process.start()
        began, answered = time.monotonic(), 0.0
        if await process.ready():
            log.info("vLLM serves %s, after %.0f s.", self._launch.name, time.monotonic() - began)
            began = time.monotonic()
            self.state, self._worked = "", True
            self._settled.set()
        fault = await process.ended()
        if not self.state:
            answered = time.monotonic() - began
        self.state = fault.sentence
        await process.stop()
        return answered, fault

    def _tell(self, sentence: str) -> None:
        """How the start goes on; once it is done, nothing of the kind is told. Percentages are logged now and then."""
        if not self.state:
            return
        self.state = sentence
        stage, now = sentence.rpartition(", ")[0], time.monotonic()
        if not stage or now >= self._log_again.get(stage, 0.0):
            self._log_again[stage] = now + LOG_SECONDS
            log.info("%s", sentence)
