"""Server-sent events. Those under /v1 are `data:` lines only, as OpenAI clients parse them: never `id:`, `event:` or
`retry:`. Those of a native turn have names and ids."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

DONE = "data: [DONE]\n\n"
UNKEPT = {"Cache-Control": "no-store"}
"""Headers of an answer that nobody on its way may keep, `app.idempotency` neither."""


def event(body: dict[str, Any], *, name: str = "", number: str = "") -> str:
    """One event; JSON escapes line breaks, so it is always a single `data:` line."""
    head = (f"id: {number}\n" if number else "") + (f"event: {name}\n" if name else "")
    return f"{head}data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


class EventStream(StreamingResponse):
    """A stream that closes its source however it ends.

    Starlette leaves an iterator open when the client is gone before the first event; then what was said would never
    be remembered. `leave` is closed then too: a generator that was never begun would run none of its own `finally`.
    """

    def __init__(
        self,
        events: AsyncGenerator[str, None],
        source: AsyncGenerator[Any, None],
        headers: dict[str, str],
        leave: ExitStack | None = None,
    ) -> None:
        unbuffered = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=unbuffered | headers)
        self._events, self._source, self._leave = events, source, leave or ExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        with self._leave:
            async with aclosing(self._source), aclosing(self._events):
                await super().__call__(scope, receive, send)
