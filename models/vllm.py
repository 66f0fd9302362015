"""The engine that runs vLLM itself, as a process beside this one."""

from __future__ import annotations

from pathlib import Path

from models.connection import Connection
from models.manifest import is_merged
from models.upstream import CHECK_SECONDS, UpstreamEngine
from models.vllm_keeper import VllmKeeper
from models.vllm_process import HEALTH, Launch


class VllmEngine(UpstreamEngine):
    """Speaks through a vLLM server of its own, which it starts, watches over and ends.

    Characters speak with those of the `adapters` in a folder that they name, where `launch` has room for some.
    """

    def __init__(self, launch: Launch, adapters: Path | None = None) -> None:
        self._keeper = VllmKeeper(launch)
        url = "http://vllm/v1"
        super().__init__(
            url,
            launch.name,
            connection=Connection(url, self._keeper.key, socket=lambda: self._keeper.socket, ready=self._keeper.check),
            context_length=launch.context_length,
            dialect="vllm",
            adapters=adapters if launch.adapters else None,
            manifest=Path(launch.model) if is_merged(Path(launch.model)) else None,
        )

    async def start(self) -> None:
        """Start vLLM and wait until it answers: half a minute, and with a download much longer.

        Raises `EngineUnavailable` when the first start failed; it is tried again in the background, unless that is
        beyond hope.
        """
        self._keeper.begin()
        self._connection.open()
        await self._keeper.first_life()
        await super().start()

    async def close(self) -> None:
        """End vLLM; streams under way end with `EngineBroke`."""
        await super().close()
        await self._keeper.close()

    async def check(self) -> None:
        """Raise `EngineUnavailable` unless vLLM can be asked now: how far its start is, or why it ended."""
        self._keeper.check()
        if not self._proven:
            await self._discover()
        # Its list of models is there for seconds after what computes has died.
        response = await self._connection.send("GET", HEALTH, CHECK_SECONDS)
        await response.aclose()
