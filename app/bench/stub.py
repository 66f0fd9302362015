"""An upstream that says when it spoke: a language model's server of which only the door is there.

`python -m app.bench.stub PACE` prints its port. It streams words, each ended by a space, and keeps when it sent them,
in seconds of this machine's monotonic clock, which all processes share. `GET /times` gives and forgets them: for every
seed that was asked with, a list. It is written on bare sockets, so that little of the machine goes to it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

NAME = "stub"
WORDS = ("Good", "morning,", "of", "course,", "I", "will", "look", "at", "it", "and", "tell", "you", "how", "long")
times: dict[int, list[float]] = {}


async def serve(pace: float) -> None:
    """Serve on a free port until the process is ended; `pace` is the seconds between two pieces."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read(reader):
                await _answer(writer, *request, pace)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    """The path and the JSON body of the next request; None when the connection ended before it."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    lines = head.split("\r\n")
    length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
    body = await reader.readexactly(length)
    return lines[0].split(" ")[1], json.loads(body) if body else {}


async def _answer(writer: asyncio.StreamWriter, path: str, body: dict[str, Any], pace: float) -> None:
    if path == "/v1/chat/completions":
        await _stream(writer, body["max_tokens"], pace, times.setdefault(body.get("seed", 0), []))
    elif path == "/times":
        _send_json(writer, times)
        times.clear()
    elif path == "/tokenize":
        _send_json(writer, {"count": len(body["prompt"]) // 4 + 1, "max_model_len": 8192})
    else:
        _send_json(writer, {"object": "list", "data": [{"id": NAME, "object": "model", "max_model_len": 8192}]})


async def _stream(writer: asyncio.StreamWriter, pieces: int, pace: float, sent: list[float]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    _send_event(writer, _chunk({"role": "assistant", "content": ""}))
    began = time.perf_counter()
    for number in range(pieces):
        await asyncio.sleep(max(0.0, began + number * pace - time.perf_counter()))
        await writer.drain()
        usage = {"prompt_tokens": 10, "completion_tokens": number + 1, "total_tokens": number + 11}
        sent.append(time.perf_counter())
        _send_event(writer, _chunk({"content": f"{WORDS[number % len(WORDS)]} "}) | {"usage": usage})
    _send_event(writer, _chunk({}, "stop"))
    payload = b"data: [DONE]\n\n"
    writer.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n0\r\n\r\n")
    await writer.drain()


def _chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": NAME, "choices": [choice]}


def _send_event(writer: asyncio.StreamWriter, chunk: dict[str, Any]) -> None:
    payload = f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()
    writer.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")


def _send_json(writer: asyncio.StreamWriter, body: Any) -> None:
    payload = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    writer.write(head.encode() + payload)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
