"""Server-sent events out of raw bytes, as the WHATWG HTML standard (section 9.2) defines the stream.

Lines end at LF, CR or CRLF and nowhere else. Text-level line splitting, as in `str.splitlines`, also breaks at U+2028
or U+0085, which servers send unescaped inside JSON.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass

MAX_BYTES = 8 * 2**20
"""One event longer than this is not a token of a reply."""


class EventTooLong(ValueError):
    """An event exceeds `MAX_BYTES`."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its `event` field, "message" by default, and its data lines joined by LF."""

    event: str
    data: str


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of a stream, each as soon as its blank line arrived. Comments and empty events are skipped.

    An event cut off by the end of the stream is given too: a truncated JSON is a better sign of a broken stream than
    silence. Raises `EventTooLong`.
    """
    event, data, size = "", list[str](), 0
    async for line in read_lines(chunks):
        size += len(line)
        if size > MAX_BYTES:
            raise EventTooLong(f"A server-sent event is longer than {MAX_BYTES} bytes.")
        if not line:
            if data:
                yield ServerSentEvent(event or "message", "\n".join(data))
            event, data, size = "", [], 0
            continue
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            event = value
        elif not field:
            size -= len(line)  # a comment that keeps the connection alive
    if data:
        yield ServerSentEvent(event or "message", "\n".join(data))


async def read_lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines of a byte stream without their ends, a leading byte order mark removed. Raises `EventTooLong`."""
    held, size = list[bytes](), 0
    first, after_cr = True, False
    async for chunk in chunks:
        fresh = chunk.removeprefix(b"\n") if after_cr else chunk
        after_cr = chunk.endswith(b"\r")
        *lines, rest = fresh.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            whole = b"".join([*held, line])
            yield whole.removeprefix(codecs.BOM_UTF8) if first else whole
            held, size, first = [], 0, False
        held.append(rest)
        size += len(rest)
        if size > MAX_BYTES:
            raise EventTooLong(f"A server-sent event is longer than {MAX_BYTES} bytes.")
    if size:
        yield b"".join(held).removeprefix(codecs.BOM_UTF8 if first else b"")
