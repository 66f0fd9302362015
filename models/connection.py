"""The connection to an OpenAI-compatible server: requests within their time, and faults as what they mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from models.completion import QUOTED, refusal, seconds_until
from models.engine import EngineBroke, EngineRefused, EngineUnavailable

T = TypeVar("T")

CONNECTIONS = 1000
LOST = (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError)
"""What the client raises; the last where a server does not speak HTTP at all."""
CONNECT_SECONDS = 5.0
REFUSAL_SECONDS = 5.0
"""For the words of an answer that is not 200."""


class Connection:
    """Connections to the server at `url`, which ends in /v1; closed until `open`.

    `socket` tells the unix socket that it listens at, where that is not the network. `ready` is called before
    anything is asked, and raises an `EngineError` where there is no use in asking.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        socket: Callable[[], Path] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = _checked(url)
        self._socket = socket
        self._ready = ready
        self._headers = {"Authorization": f"Bearer {api_key.strip()}"} if api_key and api_key.strip() else {}
        self._client: httpx.AsyncClient | None = None
        self._deadlines: set[asyncio.Timeout] = set()

    @property
    def is_open(self) -> bool:
        """Whether something may be asked."""
        return self._client is not None

    def open(self) -> None:
        """Get ready to ask; nothing is sent."""
        self._client = self._client or httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            # aiohttp reads HTTP in C; httpx's own transport takes twice the time of a request and half more of a piece.
            transport=AiohttpTransport(client=self._session),
        )

    async def close(self) -> None:
        """End all; whoever waits gets `EngineBroke`."""
        client, self._client = self._client, None
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())
        if client:
            await asyncio.sleep(0)
            await client.aclose()

    async def within(self, seconds: float, answer: Awaitable[T]) -> T:
        """Await `answer` for `seconds`; `EngineBroke` when `close` comes first, TimeoutError when nothing does."""
        try:
            async with asyncio.timeout(seconds) as deadline:
                self._deadlines.add(deadline)
                return await answer
        except TimeoutError:
            if self._client is None:
                raise EngineBroke("The connection to the language model's server was closed.") from None
            raise
        finally:
            self._deadlines.discard(deadline)

    async def send(
        self, method: str, url: str, seconds: float, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """An answer with status 200, its body unread. Raises `EngineError`."""
        self._ready()
        if self._client is None:
            raise EngineUnavailable("The connection to the language model's server is not open.")
        request = self._client.build_request(method, url, json=body, headers=headers)
        try:
            response = await self.within(seconds, self._client.send(request, stream=True))
            if response.status_code == 200:
                return response
            try:
                said = await self.within(REFUSAL_SECONDS, response.aread())
            finally:
                await response.aclose()
        except TimeoutError as error:
            raise EngineUnavailable(f"{url} did not answer within {seconds:g} seconds.") from error
        except LOST as error:
            reason = str(error) or type(error).__name__
            raise EngineUnavailable(f"{url} can't be reached: {reason}. Is the server running?") from error
        pause = seconds_until(response.headers.get("retry-after", ""), time.time())
        raise refusal(response.status_code, said.decode("utf-8", "replace"), pause)

    async def post(self, url: str, seconds: float, body: dict[str, Any]) -> None:
        """Ask for something to be done. Raises `EngineError`."""
        response = await self.send("POST", url, seconds, body)
        await response.aclose()

    async def json(self, method: str, url: str, seconds: float, body: Any = None) -> dict[str, Any]:
        """The JSON object that `url` answers with. Raises `EngineError`."""
        response = await self.send(method, url, seconds, body)
        try:
            await self.within(seconds, response.aread())
            answer = response.json()
        except (*LOST, TimeoutError) as error:
            raise EngineUnavailable(f"{url} broke off its answer: {type(error).__name__}.") from error
        except ValueError as error:
            raise EngineRefused(f"{url} did not answer with JSON. Does the address end in /v1?") from error
        finally:
            await response.aclose()
        if not isinstance(answer, dict):
            raise EngineRefused(f"{url} answered with something else than an object: {str(answer)[:QUOTED]}")
        return answer

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=self._connector(), trust_env=True, cookie_jar=aiohttp.DummyCookieJar())

    def _connector(self) -> aiohttp.BaseConnector:
        """Connections as httpx would make them: its certificates, and the proxies of the environment."""
        if self._socket:
            return aiohttp.UnixConnector(str(self._socket()), limit=CONNECTIONS)
        return aiohttp.TCPConnector(limit=CONNECTIONS, ssl=httpx.create_ssl_context())


def _checked(url: str) -> str:
    """`url` without its trailing slash; raises `ValueError` when it is not http(s)."""
    parsed = httpx.URL(url.strip())
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is not an address of a server. It looks like http://localhost:8000/v1.")
    return str(parsed).rstrip("/")
