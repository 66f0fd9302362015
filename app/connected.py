"""Whether the client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import Request

from app.errors import ClientGone


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancels the block when the client is gone, and raises `ClientGone` then. The body must have been read."""
    with anyio.CancelScope() as scope:
        watch = asyncio.create_task(_watch(request, scope))
        try:
            yield
        finally:
            watch.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([watch])
    if scope.cancelled_caught:
        raise ClientGone("The caller hung up while waiting.")


async def _watch(request: Request, scope: anyio.CancelScope) -> None:
    # Once the body is read there is only one thing left to hear.
    if (await request.receive())["type"] == "http.disconnect":
        scope.cancel()
