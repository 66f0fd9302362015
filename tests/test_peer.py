from __future__ import annotations

import asyncio
import socket

from tests.peer import listening


async def test_what_a_server_says_is_sent_when_it_is_said() -> None:
    """Else each answer over a connection that is kept waits for the client, and nobody sees why tests take so long."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listening()
    async with await asyncio.start_server(connected, sock=listener):
        _reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted
        writer.close()
        await writer.wait_closed()
