"""An OpenAI-compatible server for tests of whoever talks to one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 21, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 16}}


def event(payload: Any, *, ascii_only: bool = False) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=ascii_only)}\n\n".encode()


def delta(text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}]}


def reply(*texts: str, finish: str = "stop", usage: dict[str, Any] | None = USAGE) -> list[bytes]:
    chunks = [event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}), *(event(delta(t)) for t in texts)]
    chunks.append(event(delta(finish=finish)))
    return [*chunks, *([event({"choices": [], "usage": usage})] if usage else []), DONE]


class Peer:
    """An OpenAI-compatible server that does what a test tells it to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.models: Any = {"data": [{"id": "mira", "max_model_len": 4096}, {"id": "other"}]}
        self.chunks: list[bytes | float | Exception] = []
        self.status = 200
        self.headers = {"content-type": "text/event-stream"}
        self.asked: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.sent = 0
        self.left = asyncio.Event()
        self.endless = False
        self.hangs: asyncio.Event | None = None
        self.tokenizing: Callable[[dict[str, Any]], Awaitable[Any]] | None = None
        self.template: Callable[[list[dict[str, str]]], str] | None = None
        self.answering: Callable[[dict[str, Any]], str | tuple[int, dict[str, str]]] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body") or message["type"] != "http.request":
            body += message.get("body", b"")
        body += message.get("body", b"")
        if self.hangs:
            await self.hangs.wait()
        head = {key.decode(): value.decode() for key, value in scope["headers"]}
        if scope["path"] == "/v1/models" and scope["method"] == "GET":
            await self._answer(send, self.status if self.models is None else 200, json.dumps(self.models).encode())
        elif scope["path"] in ("/tokenize", "/detokenize") and self.tokenizing:
            answer = await self.tokenizing(json.loads(body))
            await self._answer(send, self.status if self.models is None else 200, json.dumps(answer).encode())
        elif scope["path"] in ("/tokenize", "/detokenize") and self.template:
            await self._answer(send, *self._templated(json.loads(body)))
        elif scope["path"] == "/v1/chat/completions":
            self.asked.append(json.loads(body))
            self.heads.append(head)
            if self.answering:
                await self._answer_to(self.answering(self.asked[-1]), send)
            else:
                await self._speak(receive, send)
        else:
            await self._answer(send, 404, b'{"detail":"Not Found"}')

    def _templated(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Messages as tokens and back, as vLLM tells them; what the template refuses is a bad request."""
        assert self.template
        if "tokens" in body:
            return 200, json.dumps({"prompt": "".join(map(chr, body["tokens"]))}).encode()
        try:
            text = self.template(body["messages"])
        except Exception as error:
            return 400, json.dumps({"error": {"message": str(error), "code": 400}}).encode()
        return 200, json.dumps({"count": len(text), "tokens": [ord(character) for character in text]}).encode()

    async def _answer(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer_to(self, said: str | tuple[int, dict[str, str]], send: Any) -> None:
        """A whole reply, or a status with headers of its own."""
        status, own = said if isinstance(said, tuple) else (200, self.headers)
        body = b"".join(reply(said)) if isinstance(said, str) else b'{"error": {"message": "as the test says"}}'
        headers = [(key.encode(), value.encode()) for key, value in own.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _speak(self, receive: Any, send: Any) -> None:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()

        watching = asyncio.create_task(watch())
        headers = [(key.encode(), value.encode()) for key, value in self.headers.items()]
        if self.chunks and isinstance(self.chunks[0], float):
            await asyncio.sleep(self.chunks.pop(0))  # type: ignore[arg-type]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        while self.endless and not self.left.is_set():
            await send({"type": "http.response.body", "body": event(delta("x" * 10_000)), "more_body": True})
            self.sent += 1
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                watching.cancel()
                raise chunk
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
                continue
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0.002)  # a chunk of its own on the wire
        watching.cancel()
        await send({"type": "http.response.body", "body": b""})


def listening(port: int = 0) -> socket.socket:
    """A socket of this machine alone, at `port` or a free one, for a server of asyncio's."""
    # asyncio turns Nagle's algorithm off where a socket names its protocol, as those that it makes itself do. Else each
    # answer over a connection that is kept waits 40 ms for the client's acknowledgement of its head.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


@asynccontextmanager
async def serve_peer(port: int = 0) -> AsyncIterator[Peer]:
    """A peer behind a real socket, at `port` or a free one."""
    app = Peer()
    listener = listening(port)
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    app.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield app
    server.should_exit = True
    await task
    listener.close()
