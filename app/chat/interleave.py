"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

import anyio

T = TypeVar("T")


async def interleave(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """What each of `streams` yields, as it comes. The first that fails ends them all; so does closing this one.

    Each is asked for its next value only after its last was taken, so a slow reader slows them all.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for value in only:
                yield value
        return
    waiting = {_next(stream): stream for stream in streams}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in waiting if task in done]:
                stream = waiting.pop(task)
                for value in task.result():
                    waiting[_next(stream)] = stream
                    yield value
    finally:
        # Whoever hangs up cancels this task again at its next await; the streams must end all the same.
        with anyio.CancelScope(shield=True):
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            for stream in streams:
                await stream.aclose()


def _next(stream: AsyncGenerator[T, None]) -> asyncio.Task[list[T]]:
    """A task for the next value of a stream, in a list that is empty at its end."""

    async def take() -> list[T]:
        async for value in stream:
            return [value]
        return []

    return asyncio.create_task(take())
