"""The engine that talks to any OpenAI-compatible server: vLLM in production."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from models.adapter_loading import load, unload
from models.bad_words import held_back, spellings
from models.completion import (
    ABILITIES,
    QUOTED,
    Dialect,
    ModelMissing,
    StreamedReply,
    refusal,
    request_body,
    seconds_until,
)
from models.engine import (
    ADAPTER,
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    Event,
    Finish,
    ParameterRefused,
    Sampling,
)
from models.fold import PLACES, PROBE, Place, fold, keeps_its_place
from models.manifest import ServedOtherwise, check_frame, check_tokens, read_manifest
from models.neutralise import neutralise
from models.scene import Message
from models.sse import EventTooLong, ServerSentEvent, read_events
from models.thoughts import opened_by
from models.token_count import TokenCounts, estimate_tokens
from models.tools import ending

T = TypeVar("T")
log = logging.getLogger("moodline")

CONTEXT_LENGTH = 8192
"""Assumed where neither the caller nor the server names one."""

STREAMS = 256
CONNECTIONS = 1000
LOST = (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError)
"""What the client raises; the last where a server does not speak HTTP at all."""
CONNECT_SECONDS = 5.0
CHECK_SECONDS = 5.0
FRESH_SECONDS = 1.0
"""For how long a good answer shows that the server is there."""
TEMPLATE_END = 16
"""Tokens of a prompt's end that hold whatever a template begins a reply with."""
MESSAGE_TOKENS = 8
"""What a chat template adds to a message, at most, for the estimate."""


class UpstreamEngine:
    """Speaks through the server at `url`, which ends in /v1, with `model` or, for None, the first that it lists.

    `begin_seconds` is how long the first piece of a reply may take, `idle_seconds` every later one. Events are read as
    the consumer takes them, so a slow one slows the server and nothing piles up here. `dialect="vllm"` sends sampling
    fields and a `cache_salt` that other servers refuse, and counts tokens with vLLM's own tokenizer; otherwise `count`
    is `estimate_tokens`. None is what the server's list of models says it is. `system` is where the model's chat
    template takes system messages; None asks vLLM, and means anywhere for other servers. With `manifest`,
    which `moodline merge` wrote, nothing is said through a server whose chat template makes other tokens of its turns,
    nor in another system frame. `adapters` is the folder of stored adapters as a vLLM sees it that loads them at run
    time.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        api_key: str | None = None,
        *,
        context_length: int | None = None,
        dialect: Dialect | None = "openai",
        system: Place | None = None,
        begin_seconds: float = 120.0,
        idle_seconds: float = 60.0,
        manifest: Path | None = None,
        adapters: PurePath | None = None,
    ) -> None:
        self._url = _checked(url)
        self._model = model
        self._context_length = context_length
        self._dialect = dialect
        self._place = system
        self._begin_seconds = begin_seconds
        self._idle_seconds = idle_seconds
        self._headers = {"Authorization": f"Bearer {api_key.strip()}"} if api_key and api_key.strip() else {}
        self._counts = TokenCounts(self._count)
        self._client: httpx.AsyncClient | None = None
        self._deadlines: set[asyncio.Timeout] = set()
        self._fresh_until = 0.0
        self._adapters = adapters
        self._manifest = manifest
        self._proven = manifest is None
        self.opened = ""
        self._knows_template = False

    @property
    def url(self) -> str:
        """The address it was given, which ends in /v1."""
        return self._url

    @property
    def name(self) -> str:
        """The language model's name; empty until the server named one."""
        return self._model or ""

    @property
    def context_length(self) -> int:
        """Tokens that prompt and reply share: given, or named by vLLM, or 8192."""
        return self._context_length or CONTEXT_LENGTH

    @property
    def streams(self) -> int:
        """Replies asked for at once: what vLLM computes at once by default."""
        return STREAMS

    @property
    def abilities(self) -> frozenset[str]:
        """What the dialect has; before it is known, what every server has."""
        return ABILITIES[self._dialect or "openai"] | ({ADAPTER} if self._adapters else frozenset())

    async def start(self) -> None:
        """Connect and look at the server's list of models.

        Raises `EngineUnavailable` when nobody answers, `EngineRefused` when the server has no such model. The engine
        may be used all the same: `check` and `stream` try again.
        """
        self._open()
        await self._discover()

    async def close(self) -> None:
        """Close the connections; streams under way end with `EngineBroke`."""
        client, self._client = self._client, None
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())
        if client:
            await asyncio.sleep(0)
            await client.aclose()

    async def check(self) -> None:
        """Raise `EngineUnavailable` unless the server lists our model, or gave a good answer within a second."""
        if self._client and asyncio.get_running_loop().time() < self._fresh_until:
            return
        try:
            await self._discover()
        except EngineRefused as error:
            raise EngineUnavailable(str(error)) from error

    async def drop_adapter(self, name: str) -> None:
        """Let vLLM forget an adapter, if it has it."""
        await unload(self._post, name)

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text: vLLM's count, or `estimate_tokens`. Raises `EngineError` when vLLM does not answer."""
        if not self._dialect:
            await self._discover()
        if self._dialect != "vllm":
            return [estimate_tokens(text) for text in texts]
        return await self._counts.count([neutralise(text) for text in texts])

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield pieces of text, then one `Finish`. Raises `EngineError`s.

        Where the server counts no tokens, the prompt's are estimated and each piece of text counts as one.
        """
        if not self._model or not self._dialect or not self._proven:
            await self._discover()
        if sampling.bad_words and self._dialect == "vllm":
            forms = spellings(sampling.bad_words)
            read = await asyncio.gather(*map(self._tokenize, forms))
            sampling = held_back(sampling, {form: one["tokens"] for form, one in zip(forms, read, strict=True)})
        messages = fold(messages, self._place or await self._find_place())
        body = request_body(
            sampling.adapter or self.name, messages, sampling, dialect=self._dialect or "openai", owner=owner
        )
        reply = StreamedReply(sampling)
        async with self._events(body, session, reply) as events:
            while (event := await self._next(events, reply)) and event.data.strip() != "[DONE]":
                for piece in reply.read(event.data):
                    yield piece
                if reply.stopped:
                    break
            if not event and not reply.reason:
                raise reply.failure("the stream ended in the middle of the reply")
        if rest := reply.flush():
            yield rest
        yield ending(sampling.tools, _finish(reply, messages))

    def _open(self) -> None:
        self._client = self._client or httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            # aiohttp reads HTTP in C; httpx's own transport takes twice the time of a request and half more of a piece.
            transport=AiohttpTransport(client=self._session),
        )

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=self._connector(), trust_env=True, cookie_jar=aiohttp.DummyCookieJar())

    def _connector(self) -> aiohttp.BaseConnector:
        """Connections as httpx would make them: its certificates, and the proxies of the environment."""
        return aiohttp.TCPConnector(limit=CONNECTIONS, ssl=httpx.create_ssl_context())

    @asynccontextmanager
    async def _events(
        self, body: dict[str, Any], session: str, reply: StreamedReply
    ) -> AsyncIterator[AsyncGenerator[ServerSentEvent, None]]:
        """The events of a streaming answer; the answer is closed on leaving, which makes the server stop."""
        headers = {"X-Session-Id": quote(session, safe="")} if session else {}
        response: httpx.Response | None = None
        try:
            response = await self._ask(body, headers)
            kind = response.headers.get("content-type", "")
            if "text/event-stream" not in kind:
                raise EngineRefused(
                    f"{self._url}/chat/completions answered with {kind or 'no content type'} instead of a stream of "
                    "events. Does the address end in /v1?"
                )
            self._is_there()
            async with aclosing(read_events(response.aiter_bytes())) as events:
                yield events
        except EngineError:
            self._fresh_until = 0.0
            raise
        finally:
            if response is not None:
                await response.aclose()

    async def _ask(self, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        """Ask for a reply. An adapter that the server does not have, new or after a restart, is loaded first."""
        url = f"{self._url}/chat/completions"
        try:
            return await self._send("POST", url, self._begin_seconds, body, headers)
        except ModelMissing:
            if body["model"] == self.name or not self._adapters:
                raise
        await load(self._post, body["model"], self._adapters / body["model"])
        return await self._send("POST", url, self._begin_seconds, body, headers)

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        response = await self._send("POST", f"{self._url}/{path}", self._begin_seconds, body)
        await response.aclose()

    async def _next(
        self, events: AsyncGenerator[ServerSentEvent, None], reply: StreamedReply
    ) -> ServerSentEvent | None:
        """The next event; None at the end of the stream."""
        seconds = self._idle_seconds if reply.spoke else self._begin_seconds
        try:
            return await self._within(seconds, anext(events, None))
        except TimeoutError as error:
            raise reply.failure(f"nothing came for {seconds:g} seconds") from error
        except (*LOST, EventTooLong) as error:
            if reply.reason:
                return None  # everything was said; only the server's goodbye is missing
            raise reply.failure(str(error) or type(error).__name__) from error

    async def _within(self, seconds: float, answer: Awaitable[T]) -> T:
        """Await `answer` for `seconds`; `EngineBroke` when `close` comes first."""
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

    async def _send(
        self, method: str, url: str, seconds: float, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """An answer with status 200, its body unread. Raises `EngineError`."""
        if self._client is None:
            raise EngineUnavailable("The connection to the language model's server is not open.")
        request = self._client.build_request(method, url, json=body, headers=headers)
        try:
            response = await self._within(seconds, self._client.send(request, stream=True))
            if response.status_code == 200:
                return response
            try:
                said = await self._within(CHECK_SECONDS, response.aread())
            finally:
                await response.aclose()
        except TimeoutError as error:
            raise EngineUnavailable(f"{url} did not answer within {seconds:g} seconds.") from error
        except LOST as error:
            reason = str(error) or type(error).__name__
            raise EngineUnavailable(f"{url} can't be reached: {reason}. Is the server running?") from error
        pause = seconds_until(response.headers.get("retry-after", ""), time.time())
        raise refusal(response.status_code, said.decode("utf-8", "replace"), pause)

    async def _json(self, method: str, url: str, seconds: float, body: Any = None) -> dict[str, Any]:
        """The JSON object that `url` answers with."""
        response = await self._send(method, url, seconds, body)
        try:
            await self._within(seconds, response.aread())
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

    async def _discover(self) -> None:
        """Fill in the model's name, the context length and the dialect from `GET /models`."""
        self._fresh_until = 0.0
        try:
            answer = await self._json("GET", f"{self._url}/models", CHECK_SECONDS)
        except EngineRefused as error:
            raise EngineRefused(f"{error} ({self._url}/models; the address should end in /v1)") from error
        listed = [model for model in answer.get("data") or () if isinstance(model, dict) and model.get("id")]
        model = next((model for model in listed if self._model in (None, model["id"])), None)
        if model is None:
            names = ", ".join(str(model["id"]) for model in listed[:20]) or "nothing"
            raise EngineRefused(f"{self._url} does not serve {self._model or 'any model'}; it lists {names}.")
        self._model = str(model["id"])
        self._dialect = self._dialect or ("vllm" if model.get("owned_by") == "vllm" else "openai")
        length = model.get("max_model_len")
        if self._context_length is None and isinstance(length, int) and length > 0:
            self._context_length = length
        if self._manifest:
            await self._prove(self._manifest)
        self._is_there()
        if self._dialect == "vllm" and not self._knows_template:
            await self._look_at_template()

    async def _prove(self, file: Path) -> None:
        """Raise `ServedOtherwise` unless the server serves as the manifest says."""
        self._proven = False
        manifest = read_manifest(file)
        check_frame(manifest)
        if manifest.template.tokens:
            try:
                tokens = await self._tokens_of(manifest.template.turns)
            except EngineRefused as error:
                raise ServedOtherwise(f"The server can't be held against {file}. {error}") from error
            check_tokens(manifest, tokens)
        self._proven = True

    async def _tokens_of(self, turns: Sequence[Message]) -> list[int]:
        """The token ids that vLLM's chat template makes of `turns`."""
        rows = [{"role": turn.role, "content": turn.content} for turn in turns]
        answer = await self._beside("tokenize", {"messages": rows, "add_generation_prompt": True})
        if not isinstance(tokens := answer.get("tokens"), list):
            raise EngineRefused("The server's /tokenize did not answer with tokens. Is it vLLM?")
        return tokens

    async def _look_at_template(self) -> None:
        """Whether vLLM's template begins a thought before a reply: what its prompts end with."""
        root, asked = self._url.removesuffix("/v1"), [{"role": "user", "content": "…"}]
        try:
            read = await self._json(
                "POST", f"{root}/tokenize", CHECK_SECONDS, {"model": self._model, "messages": asked}
            )
            end = {"model": self._model, "tokens": list(read.get("tokens") or ())[-TEMPLATE_END:]}
            written = await self._json("POST", f"{root}/detokenize", CHECK_SECONDS, end)
            self.opened = opened_by(str(written.get("prompt", "")))
        except EngineUnavailable:
            return
        except EngineRefused:
            log.info("%s does not tell what its prompts end with; thoughts are known by their tags alone.", self._url)
        self._knows_template = True

    async def _find_place(self) -> Place:
        """Where the served template takes system messages, seen in what vLLM makes of a probe.

        A server that can't tell is taken to take them anywhere; one that can't be reached is asked again.
        """
        for place in PLACES if self._dialect == "vllm" else ():
            try:
                messages = [{"role": message.role, "content": message.content} for message in fold(PROBE, place)]
                read = await self._beside("tokenize", {"messages": messages, "add_generation_prompt": True})
                told = await self._beside("detokenize", {"tokens": read.get("tokens")})
            except ParameterRefused:
                continue
            except EngineRefused:
                break
            except EngineError:
                return "anywhere"
            if keeps_its_place(str(told.get("prompt"))):
                self._place = place
                return place
        self._place = "anywhere"
        return self._place

    async def _beside(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """What vLLM answers at one of the paths that lie beside /v1, not below."""
        url = f"{self._url.removesuffix('/v1')}/{name}"
        return await self._json("POST", url, self._idle_seconds, {"model": self._model} | body)

    def _is_there(self) -> None:
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS

    async def _tokenize(self, text: str) -> dict[str, Any]:
        """What vLLM makes of one text, `tokens` and their `count`; its /tokenize lies beside /v1, not below."""
        if not self._model:
            await self._discover()
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        answer = await self._json("POST", f"{self._url.removesuffix('/v1')}/tokenize", self._idle_seconds, body)
        if not isinstance(answer.get("count"), int):
            raise EngineRefused("The server's /tokenize did not answer with a count. Is it vLLM?")
        return answer

    async def _count(self, text: str) -> int:
        count: int = (await self._tokenize(text))["count"]
        return count


def _checked(url: str) -> str:
    """`url` without its trailing slash; raises `ValueError` when it is not http(s)."""
    parsed = httpx.URL(url.strip())
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is not an address of a server. It looks like http://localhost:8000/v1.")
    return str(parsed).rstrip("/")


def _finish(reply: StreamedReply, messages: Sequence[Message]) -> Finish:
    prompt, completion = reply.tokens("prompt_tokens"), reply.tokens("completion_tokens")
    if prompt is None:
        prompt = sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in messages)
    reason = "stop" if reply.stopped else reply.reason or "stop"
    return Finish(
        reason, prompt, reply.pieces if completion is None else completion, reply.tokens("cached_tokens") or 0
    )
