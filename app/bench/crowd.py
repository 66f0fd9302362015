"""Many clients that stream at once, on bare sockets so that measuring takes little of the machine."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CONTENT = re.compile(rb'"content":\s*"([^"]*)"')
COMPLETION = re.compile(rb'"completion_tokens":\s*(\d+)')
TURN = re.compile(rb"x-moodline-turn: (\S+)")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to ask, and with which key."""

    port: int
    host: str = "127.0.0.1"
    key: str = ""


@dataclass(slots=True)
class Timings:
    """In seconds: of each request its first text and its end; when each word came, by seed; and how long all took.

    `tokens` are those of each reply as usage tells them, 0 without; `turns` the turns of characters, by the number of
    the request.
    """

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    came: dict[int, list[float]] = field(default_factory=dict)
    turns: dict[int, str] = field(default_factory=dict)
    elapsed: float = 0.0


async def crowd(
    address: Address, streams: int, requests: int, body: Callable[[int], dict[str, Any]], spread: float = 0.0
) -> Timings:
    """Ask `requests` times, `streams` at once, each client over one connection; raises `OSError` for a refusal.

    Clients begin evenly over `spread` seconds, so that they do not all ask at the same moment again and again.
    """
    timings, numbers = Timings(), iter(range(requests))

    async def client(place: int) -> None:
        await asyncio.sleep(spread * place / streams)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            for number in numbers:
                await _ask(reader, writer, number, body(number), timings, address.key)
        finally:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(place) for place in range(streams)))
    timings.elapsed = time.perf_counter() - began
    return timings


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    number: int,
    body: dict[str, Any],
    timings: Timings,
    key: str,
) -> None:
    payload = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {key}\r\n" if key else ""
    head += f"content-length: {len(payload)}\r\n\r\n"
    began = time.perf_counter()
    writer.write(head.encode() + payload)
    status = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in status[:20]:
        raise OSError(f"{status.decode('latin-1').splitlines()[0]}: {(await reader.read(2000)).decode()}")
    if turn := TURN.search(status):
        timings.turns[number] = turn[1].decode()
    came, first, tokens = timings.came.setdefault(body.get("seed", number), []), 0.0, 0
    while b"[DONE]" not in (event := await reader.readuntil(b"\n\n")):
        now = time.perf_counter()
        texts = CONTENT.findall(event)
        first = first or (now if any(texts) else 0.0)
        # Words end with a space, and several may come in one event.
        came += [now] * sum(text.count(b" ") for text in texts)
        tokens = max([tokens, *map(int, COMPLETION.findall(event))])
    await reader.readuntil(b"0\r\n\r\n")
    ended = time.perf_counter()
    timings.first.append((first or ended) - began)
    timings.whole.append(ended - began)
    timings.tokens.append(tokens)
