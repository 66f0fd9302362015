"""The very front: how long and how large the head of a request may be, before there is a request to speak of."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""More than any browser or client sends; uvicorn would collect headers without end."""
HEAD_SECONDS = 20.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Front(HttpToolsProtocol):
    """uvicorn's protocol, with a bound for heads: a 431 for a large one, and no answer for one that never ends."""

    def connection_made(self, transport: Any) -> None:
        """A client connects."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._slow = self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._slow.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of heads or bodies."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins, of a new connection or a kept one."""
        super().on_message_begin()
        self._slow.cancel()
        self._slow = self._expect_head()

    def on_headers_complete(self) -> None:
        """A head has ended; what comes now is bounded by the gate."""
        self._slow.cancel()
        self._head_bytes = -(2**62)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body has ended; the next head may come."""
        super().on_message_complete()
        self._head_bytes = 0

    def _expect_head(self) -> asyncio.TimerHandle:
        return self.loop.call_later(HEAD_SECONDS, self.transport.close)
