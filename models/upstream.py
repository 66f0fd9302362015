"""The engine that talks to any OpenAI-compatible server: vLLM in production."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import httpx

from models.adapter_loading import load, unload
from models.bad_words import held_back, spellings
from models.completion import (
    ABILITIES,
    Dialect,
    ModelMissing,
    StreamedReply,
    request_body,
)
from models.connection import LOST, Connection
from models.engine import (
    ADAPTER,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    Event,
    Finish,
    Sampling,
)
from models.fold import Place, fold
from models.neutralise import neutralise
from models.scene import Message
from models.served import Served
from models.sse import EventTooLong, ServerSentEvent, read_events
from models.token_count import TokenCounts, estimate_tokens
from models.tools import ending

log = logging.getLogger("moodline")

CONTEXT_LENGTH = 8192
"""Assumed where neither the caller nor the server names one."""

STREAMS = 256
CHECK_SECONDS = 5.0
FRESH_SECONDS = 1.0
"""For how long a good answer shows that the server is there."""
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
    time. `connection` is how to reach it, where that is not by `url` and `api_key`. `store` is told to a server that
    keeps conversations, as Moodline does; None speaks of it to none.
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
        connection: Connection | None = None,
        store: bool | None = None,
    ) -> None:
        self._connection = connection or Connection(url, api_key)
        self._model = model
        self._context_length = context_length
        self._dialect = dialect
        self._place = system
        self._begin_seconds = begin_seconds
        self._idle_seconds = idle_seconds
        self._counts = TokenCounts(self._count)
        self._fresh_until = 0.0
        self._adapters = adapters
        self._manifest = manifest
        self._store = store
        self._proven = manifest is None
        self.opened = ""
        self._knows_template = False

    @property
    def url(self) -> str:
        """The address it was given, which ends in /v1."""
        return self._connection.url

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
        self._connection.open()
        await self._discover()

    async def close(self) -> None:
        """Close the connections; streams under way end with `EngineBroke`."""
        await self._connection.close()

    async def check(self) -> None:
        """Raise `EngineUnavailable` unless the server lists our model, or gave a good answer within a second."""
        if self._connection.is_open and asyncio.get_running_loop().time() < self._fresh_until:
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
            read = await asyncio.gather(*map(self._served.tokenize, forms))
            sampling = held_back(sampling, {form: one["tokens"] for form, one in zip(forms, read, strict=True)})
        messages = fold(messages, await self._place_of_system())
        body = request_body(
            sampling.adapter or self.name, messages, sampling, dialect=self._dialect or "openai", owner=owner
        )
        body |= {} if self._store is None else {"store": self._store}
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
                    f"{self.url}/chat/completions answered with {kind or 'no content type'} instead of a stream of "
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
        url = f"{self.url}/chat/completions"
        try:
            return await self._connection.send("POST", url, self._begin_seconds, body, headers)
        except ModelMissing:
            if body["model"] == self.name or not self._adapters:
                raise
        await load(self._post, body["model"], self._adapters / body["model"])
        return await self._connection.send("POST", url, self._begin_seconds, body, headers)

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        await self._connection.post(f"{self.url}/{path}", self._begin_seconds, body)

    async def _next(
        self, events: AsyncGenerator[ServerSentEvent, None], reply: StreamedReply
    ) -> ServerSentEvent | None:
        """The next event; None at the end of the stream."""
        seconds = self._idle_seconds if reply.spoke else self._begin_seconds
        try:
            return await self._connection.within(seconds, anext(events, None))
        except TimeoutError as error:
            raise reply.failure(f"nothing came for {seconds:g} seconds") from error
        except (*LOST, EventTooLong) as error:
            if reply.reason:
                return None  # everything was said; only the server's goodbye is missing
            raise reply.failure(str(error) or type(error).__name__) from error

    async def _discover(self) -> None:
        """Fill in the model's name, the context length and the dialect from `GET /models`."""
        self._fresh_until = 0.0
        try:
            answer = await self._connection.json("GET", f"{self.url}/models", CHECK_SECONDS)
        except EngineRefused as error:
            raise EngineRefused(f"{error} ({self.url}/models; the address should end in /v1)") from error
        listed = [model for model in answer.get("data") or () if isinstance(model, dict) and model.get("id")]
        model = next((model for model in listed if self._model in (None, model["id"])), None)
        if model is None:
            names = ", ".join(str(model["id"]) for model in listed[:20]) or "nothing"
            raise EngineRefused(f"{self.url} does not serve {self._model or 'any model'}; it lists {names}.")
        self._model = str(model["id"])
        self._dialect = self._dialect or ("vllm" if model.get("owned_by") == "vllm" else "openai")
        length = model.get("max_model_len")
        if self._context_length is None and isinstance(length, int) and length > 0:
            self._context_length = length
        if self._manifest:
            self._proven = False
            await self._served.prove(self._manifest)
            self._proven = True
        self._is_there()
        if self._dialect == "vllm" and not self._knows_template:
            await self._look_at_template()

    async def _look_at_template(self) -> None:
        """Whether vLLM's template begins a thought before a reply."""
        try:
            self.opened = await Served(self._connection, self.name, CHECK_SECONDS).opening()
        except EngineUnavailable:
            return
        except EngineRefused:
            log.info("%s does not tell what its prompts end with; thoughts are known by their tags alone.", self.url)
        self._knows_template = True

    async def _place_of_system(self) -> Place:
        """Where the served template takes system messages; a server that can't be reached is asked again."""
        if not self._place:
            self._place = await self._served.place() if self._dialect == "vllm" else "anywhere"
        return self._place or "anywhere"

    def _is_there(self) -> None:
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS

    async def _count(self, text: str) -> int:
        if not self._model:
            await self._discover()
        count: int = (await self._served.tokenize(text))["count"]
        return count

    @property
    def _served(self) -> Served:
        return Served(self._connection, self.name, self._idle_seconds)


def _finish(reply: StreamedReply, messages: Sequence[Message]) -> Finish:
    prompt, completion = reply.tokens("prompt_tokens"), reply.tokens("completion_tokens")
    if prompt is None:
        prompt = sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in messages)
    reason = "stop" if reply.stopped else reply.reason or "stop"
    return Finish(
        reason, prompt, reply.pieces if completion is None else completion, reply.tokens("cached_tokens") or 0
    )
