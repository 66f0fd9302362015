"""The edge for writes that name themselves by an `Idempotency-Key`: done once, however often they are sent.

Such a call runs in a task of the server's own, which its client's leaving does not end: its retry is owed the answer,
byte for byte, of a stream too. An error is not kept: it changed nothing, and the call may be tried again. The
transaction that does what is asked for says so, or it would be done again where the process ends before it answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from functools import partial
from time import monotonic
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi import Request
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import keyed
from app.chat.headers import FORWARDED_USER, PREFIX
from app.connected import while_connected
from app.db import ON_BEHALF_OF
from app.errors import AppError, BadRequest, ClientGone
from app.http import respond
from app.keyed import Call
from app.services import Services
from app.tables import KeyedCall

log = logging.getLogger("moodline")

HEADER = "idempotency-key"
LONGEST = 255
WRITES = ("POST", "PUT", "PATCH", "DELETE")
MEANINGFUL = ("x-session-id", "if-match", FORWARDED_USER)
"""Headers that are part of what a call asks for, besides ours: who asks among them."""
WAIT_SECONDS = 60.0
"""How long a retry waits for the first try's answer before it is told to come back."""
LOOK_EVERY = 0.2
SIGN_OF_LIFE = 5.0
PRUNE_EVERY = 600.0


class Idempotency:
    """Middleware. Goes inside of the gate, which has settled who calls and bounds the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._pruned = -PRUNE_EVERY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        request = Request(scope, receive) if scope["type"] == "http" else None
        if request is None or request.method not in WRITES or HEADER not in request.headers or "caller" not in scope:
            await self.app(scope, receive, send)
            return
        try:
            await self._answer(request, send)
        except (ClientDisconnect, ClientGone, OSError):
            return
        except (AppError, HTTPException) as error:
            response = await respond(request, error)
            await response(scope, receive, send)

    async def _answer(self, request: Request, send: Send) -> None:
        body = await request.body()
        call = await run_sync(_read, request, body)
        async with while_connected(request):
            answer = await self._begin_or_find(request, call, body)
            if isinstance(answer, Tape):
                try:
                    async for message in answer.play():
                        await send(message)
                finally:
                    answer.left.set()
                return
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers or []]
        headers.append((b"idempotency-replayed", b"true"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body or b""})

    async def _begin_or_find(self, request: Request, call: Call, body: bytes) -> Tape | KeyedCall:
        """The answer that is being given now, or was before. Waits while another request gives it."""
        services: Services = request.app.state.services
        began = monotonic()
        while True:
            # A call that is claimed is also made, whenever its client leaves.
            with anyio.CancelScope(shield=True):
                answer = await self._begin(request, call, body)
            if isinstance(answer, Tape) or answer.status is not None:
                return answer
            while await _is_answered_elsewhere(services, call):
                if monotonic() - began > WAIT_SECONDS or request.app.state.under_way.closing:
                    raise keyed.in_use()
                await asyncio.sleep(LOOK_EVERY)

    async def _begin(self, request: Request, call: Call, body: bytes) -> Tape | KeyedCall:
        services: Services = request.app.state.services
        async with services.db.write() as db:
            row = await keyed.claim(db, call)
        if row is not None:
            return row
        tape = Tape(body, services.settings.finish_seconds)
        request.app.state.under_way.start(self._run(services, request.scope, call, tape))
        return tape

    async def _run(self, services: Services, scope: Scope, call: Call, tape: Tape) -> None:
        """Answer the call, for whoever is there to hear it, and keep the answer before its end is told."""

        async def send(message: Message) -> None:
            tape.record(message)
            if tape.whole and tape.status < 400 and not call.broke.is_set():
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in tape.headers]
                kept = None if (b"cache-control", b"no-store") in tape.headers else bytes(tape.body)
                async with services.db.write(done=False) as db:
                    await keyed.keep(db, call, tape.status, headers, kept)
                    if monotonic() - self._pruned > PRUNE_EVERY:
                        self._pruned = monotonic()
                        await keyed.prune(db, services.settings.replay_hours)
                tape.kept = True

        life = asyncio.create_task(_live(services, call))
        scope[keyed.SCOPE] = call
        behalf = ON_BEHALF_OF.set(partial(keyed.mark, call=call))
        try:
            await self.app(scope, tape.receive, send)
        except Exception as error:
            tape.fail(error)
        finally:
            ON_BEHALF_OF.reset(behalf)
            life.cancel()
            try:
                if not tape.kept:
                    async with services.db.write() as db:
                        await keyed.let_go(db, call)
            except SQLAlchemyError as error:
                tape.fail(error)
            finally:
                tape.end()


class Tape:
    """What a call answers, recorded while it is played. `left` is set when its client is gone."""

    def __init__(self, request_body: bytes, seconds: float) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.whole = False
        self.kept = False
        self.error: Exception | None = None
        self.left = asyncio.Event()
        self._request: list[Message] = [{"type": "http.request", "body": request_body, "more_body": False}]
        self._seconds = seconds
        self._messages: list[Message] = []
        self._ended = False
        self._changed = asyncio.Event()

    async def receive(self) -> Message:
        """ASGI: the request's body; then, some time after the client has left, that it has."""
        if self._request:
            return self._request.pop()
        await self.left.wait()
        await asyncio.sleep(self._seconds)
        return {"type": "http.disconnect"}

    def record(self, message: Message) -> None:
        """A message of the answer. The last one is only played once the call has ended."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)
        self._messages.append(message)
        if not self.whole:
            self._changed.set()

    def fail(self, error: Exception) -> None:
        """Something broke; whoever has a whole answer need not hear of it."""
        if self.whole:
            log.error("a call was answered, but its answer could not be kept", exc_info=error)
        else:
            self.error = self.error or error

    def end(self) -> None:
        """The call has ended."""
        self._ended = True
        self._changed.set()

    async def play(self) -> AsyncGenerator[Message, None]:
        """The messages as they come; raises what broke the call off."""
        at = 0
        while True:
            held = self.whole and not self._ended
            while at < len(self._messages) - held:
                at += 1
                yield self._messages[at - 1]
            if self._ended:
                break
            await self._changed.wait()
            self._changed.clear()
        if self.error:
            raise self.error


def _read(request: Request, body: bytes) -> Call:
    """The call of a request; raises `BadRequest` for a key that is none."""
    key = request.headers[HEADER]
    if not 1 <= len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise BadRequest(f"An Idempotency-Key has 1 to {LONGEST} printable ASCII characters.", param="Idempotency-Key")
    media, _, parameters = request.headers.get("content-type", "").partition(";")
    boundary = parameters.partition("boundary=")[2].strip('" ').encode("latin-1")
    asked: list[Any] = [request.method, request.scope["path"], request.scope["query_string"].decode("latin-1"), media]
    named = [pair for pair in request.headers.items() if pair[0] in MEANINGFUL or pair[0].startswith(PREFIX)]
    asked.append("\n".join(f"{name}: {value}" for name, value in sorted(named)))
    parts = [part.encode("utf-8", "surrogatepass") for part in asked]
    openai = request.scope["path"].startswith("/v1")
    return Call(request.scope["caller"].owner, key, keyed.digest(parts, body, boundary), openai)


async def _is_answered_elsewhere(services: Services, call: Call) -> bool:
    query = select(KeyedCall.status, KeyedCall.seen_at).where(KeyedCall.owner == call.owner, KeyedCall.key == call.key)
    async with services.db.read() as db:
        row = (await db.execute(query)).first()
    return row is not None and row.status is None and not keyed.is_lost(row.seen_at)


async def _live(services: Services, call: Call) -> None:
    while True:
        await asyncio.sleep(SIGN_OF_LIFE)
        try:
            async with services.db.write() as db:
                await keyed.live(db, call)
        except SQLAlchemyError as error:
            log.warning("a call under way could not be written down, and will be: %s", error)
