"""The edge: what may come in, and how domain errors become responses.

Errors under /v1 have OpenAI's shape, all others are RFC 9457 problem details.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth import identify
from app.errors import AppError
from app.settings import Settings, is_loopback
from app.tables import new_id
from models.engine import EngineError, EngineUnavailable, ParameterRefused, PromptTooLong

log = logging.getLogger("moodline")

OPENAI_TYPES = {401: "invalid_request_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {408: "timeout", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
SLOWEST = 16_384
"""Bytes a second of a body that get it more time than `body_seconds`."""
HEAR_OUT_SECONDS = 1.0
"""For how long a body that is too large is still read, and thrown away."""
RETRY_SECONDS = 3
"""After which to try again when nobody knows better."""
UPLOAD = re.compile(r"/api/adapters|/api/characters/[^/]+/lines|/api/characters/import|/api/sessions/import")
KEYED = re.compile(r"/(v1|api)(/.*)?", re.DOTALL)
"""Paths below which a caller must be known. Routes ask for the `Caller` as well, so none can be forgotten."""
CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
"""A request id of the client's that may go into our log and headers."""


def install(app: FastAPI, settings: Settings) -> None:
    """Put the gate before the app and translate every error it raises."""
    app.add_middleware(Gate, settings=settings)
    app.add_exception_handler(AppError, _domain_error)
    app.add_exception_handler(EngineError, _engine_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)


def openai_error(status: int, message: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error body."""
    kind = OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(
    request: Request,
    status: int,
    message: str,
    code: str,
    param: str | None = None,
    retry_after: float | None = None,
    **more: Any,
) -> JSONResponse:
    """An error response in the shape of the route's family."""
    headers = {"x-request-id": request.scope.get("request_id", "")}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None or status == 503:
        headers["Retry-After"] = str(math.ceil(retry_after or RETRY_SECONDS))
    if request.scope["path"].startswith("/v1"):
        return JSONResponse(openai_error(status, message, code, param), status, headers)
    problem = {"type": f"urn:moodline:{code}", "title": code, "status": status, "detail": message, **more}
    if param:
        problem["param"] = param
    return JSONResponse(problem, status, headers, media_type="application/problem+json")


async def respond(request: Request, error: AppError | HTTPException) -> Response:
    """The response to an error that was raised before the routes."""
    return await (_domain_error if isinstance(error, AppError) else _http_error)(request, error)


async def _domain_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    # The foreign 412 and 428 are for /api only; a chat request never carries a revision.
    return answer(request, error.status, error.message, error.code, error.param, error.retry_after)


async def _engine_error(request: Request, error: Exception) -> JSONResponse:
    status, code = engine_status(error)
    param = "messages" if code == "context_length_exceeded" else getattr(error, "param", None)
    return answer(request, status, str(error), code, param)


def engine_status(error: Exception) -> tuple[int, str]:
    """The status and the code that tell of an engine's failure."""
    if isinstance(error, PromptTooLong):
        return 400, "context_length_exceeded"
    if isinstance(error, ParameterRefused):
        return 400, "invalid_request"
    if isinstance(error, EngineUnavailable):
        return 503, "engine_unavailable"
    return 502, "engine_error"


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [(_place(fault, error.body), fault["msg"].removeprefix("Value error, ")) for fault in error.errors()]
    where, what = faults[0] if faults else ("", "the request is malformed")
    if any(fault["type"] == "json_invalid" for fault in error.errors()):
        return answer(request, 400, f"The body is not valid JSON: {error.errors()[0]['ctx']['error']}.", "invalid_json")
    message = f"{where}: {what}" if where else what
    if isinstance(error.body, bytes) and error.body:
        message = "The body was not read as JSON; send it with `Content-Type: application/json`."
        return answer(request, 415, message, "unsupported_media_type")
    if len(faults) > 1:
        message += f" (and {len(faults) - 1} more)"
    if request.scope["path"].startswith("/v1"):
        return answer(request, 400, message, "invalid_request", where or None)
    errors = [{"field": field, "message": text} for field, text in faults]
    return answer(request, 422, message, "invalid_request", where or None, errors=errors)


def _place(fault: dict[str, Any], body: Any) -> str:
    """Where a fault is, as `messages.0.content`, without the names that pydantic gives to the branches of a union."""
    source, *path = fault["loc"]
    kept = []
    for part in path:
        inside = part in body if isinstance(body, dict) else isinstance(body, list) and part in range(len(body))
        if inside:
            body = body[part]
        if inside or source != "body" or (fault["type"] == "missing" and part == path[-1]):
            kept.append(str(part))
    return ".".join(kept)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    if error.status_code == 400 and "parsing the body" in message:
        return answer(request, 400, "The body is not valid UTF-8 JSON.", "invalid_json")
    if error.status_code in (404, 405):
        message = f"{message}: {request.method} {request.scope['path']}. /docs lists the routes."
    response = answer(request, error.status_code, message, CODES.get(error.status_code, "http_error"))
    response.headers.update(headers)
    return response


def _allowed(request: Request) -> list[str]:
    """The methods of a path: what the document has of it, else of all routes that lie on it.

    `/api/sessions/import` lies on `/api/sessions/{session_id}` as well, but is no session.
    """
    told = request.app.openapi()["paths"].get(request.scope["path"], {})
    allowed = ["OPTIONS"]
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        lies_on = any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
        if method.lower() in told or (lies_on and not told):
            allowed += [method, "HEAD"] if method == "GET" else [method]
    return sorted(allowed)


async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.exception("unexpected error in %s %s", request.method, request.scope["path"], exc_info=error)
    message = f"Something broke on our side; the log has it under request {request.scope.get('request_id')}."
    return answer(request, 500, message, "server_error")


class Gate:
    """Lets a request in, or answers it at once.

    Numbers requests; asks who calls before a byte of the body is read; bounds bodies; answers HEAD as GET without a
    body. While no key is asked for, it answers only to loopback host names and same-origin pages, so that neither DNS
    rebinding nor a foreign page in the owner's browser gets in.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        scope["request_id"] = request_id = asked if CLIENT_REQUEST_ID.fullmatch(asked) else f"req_{new_id()}"
        if head := scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # a copy: the server still has to know that it sends no body
        request = Request(scope)

        async def send_numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
                # What is left of the caller's limits; `auth.identify` knows.
                limits = [(name.encode(), value.encode()) for name, value in scope.get("limits", {}).items()]
                message["headers"] = [*headers, *limits, (b"x-request-id", request_id.encode())]
            elif head:
                message["body"] = b""
            await send(message)

        if refused := await self._refuse(request):
            await refused(scope, receive, send_numbered)
            return
        await self.app(scope, self._bounded(request, receive), send_numbered)

    async def _refuse(self, request: Request) -> Response | None:
        """The answer to a request that does not come in; to one that does, `scope` tells who calls."""
        scope = request.scope
        if refusal := self._refusal(request):
            return answer(request, 403, refusal, "forbidden")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            # No id or name holds one, and PostgreSQL can't even compare with it.
            return answer(request, 400, "The address holds a NUL character (%00).", "invalid_request")
        if KEYED.fullmatch(scope["path"]) and scope["method"] != "OPTIONS":
            try:
                scope["caller"] = await identify(request, scope["app"].state.services)
            except AppError as error:
                return await _domain_error(request, error)
        return None

    def _refusal(self, request: Request) -> str:
        if self.settings.key_required:
            return ""
        host = request.headers.get("host", "")
        if not is_loopback(_name_of(host)):
            return (
                f"This server asks for no key and so answers only to loopback names, not to {host!r}. "
                "Set MOODLINE_REQUIRE_KEY=true and create a key to serve other names."
            )
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != host:
            return (
                f"This server asks for no key and so refuses pages of another origin ({origin}). "
                "Set MOODLINE_REQUIRE_KEY=true and create a key to use it from there."
            )
        return ""

    def _bounded(self, request: Request, receive: Receive) -> Receive:
        """A `receive` that refuses a body over its limit while it arrives, and one that comes too slowly."""
        upload = UPLOAD.fullmatch(request.scope["path"])
        # A multipart form carries a little more than its file.
        limit = self.settings.max_upload_bytes + 2**16 if upload else self.settings.max_body_bytes
        name = "MOODLINE_MAX_UPLOAD_BYTES" if upload else "MOODLINE_MAX_BODY_BYTES"
        clock = asyncio.get_running_loop().time
        seconds, began, got, whole = self.settings.body_seconds, clock(), 0, False

        async def receive_bounded() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()  # waits for as long as the client stays
            try:
                async with asyncio.timeout_at(began + seconds + got / SLOWEST):
                    message = await receive()
            except TimeoutError:
                slow = f"The request body did not come within {seconds:g} seconds (MOODLINE_BODY_SECONDS)."
                raise HTTPException(408, slow, {"Connection": "close"}) from None
            whole = not message.get("more_body", False)
            got += len(message.get("body", b""))
            if got > limit:
                await _hear_out(receive)
                large = f"The request body is over {limit:,} bytes ({name})."
                raise HTTPException(413, large, {"Connection": "close"})
            return message

        return receive_bounded


async def _hear_out(receive: Receive) -> None:
    """Throw away what is still sent, for a while: a connection closed before that is reset, and the answer lost."""
    with suppress(TimeoutError):
        async with asyncio.timeout(HEAR_OUT_SECONDS):
            while (await receive()).get("more_body", False):
                pass


def _name_of(host: str) -> str:
    """The name in a Host header, without the port; empty when it can't be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
