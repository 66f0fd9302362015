"""The engine seam: something that streams a reply to a list of messages."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from models.scene import Message

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class EngineError(Exception):
    """An engine could not answer.

    EngineError
    ├── EngineUnavailable   not loaded yet, connection refused, timed out: worth a retry
    ├── EngineRefused       the engine read the request and said no: a retry will not help
    │   ├── PromptTooLong       more tokens than the context holds
    │   └── ParameterRefused    what was asked for can't be done, or not with these values
    └── EngineBroke         it died while speaking
    """


class EngineUnavailable(EngineError):
    """The engine is loading, unreachable or too slow to begin; `retry_after` is in how many seconds it says to ask."""

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineRefused(EngineError):
    """The engine rejected the request."""


class PromptTooLong(EngineRefused):
    """The prompt holds more tokens than the engine's context."""


class ParameterRefused(EngineRefused):
    """A parameter of the request, `param` where it is known, can't be honoured."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class EngineBroke(EngineError):
    """The engine failed after it began to speak."""


OPTIONAL = frozenset(
    {
        *("logprobs", "logit_bias", "response_format", "tools", "top_k", "min_p", "repetition_penalty"),
        *("min_tokens", "bad_words", "stop_token_ids", "include_stop_str_in_output"),
    }
)
"""Parameters, by their names in the OpenAI dialect and in vLLM's, that an engine may be unable to honour."""

ADAPTER = "adapter"
"""The ability to speak with a stored LoRA adapter; no parameter of a request, but a field of a character."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Functions that may be called, as OpenAI spells them; `choice` is `none`, `auto`, `required` or names one."""

    functions: tuple[Mapping[str, Any], ...]
    choice: str | Mapping[str, Any] = "auto"
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to answer. None means the engine's own default. `max_tokens` counts the reply only.

    `logprobs` is how many alternatives to name for each token; None is no log-probabilities at all. `logit_bias` has
    token ids with what is added to their logits. `min_tokens` holds back the tokens that end a reply, not stop strings.
    `response_format` is OpenAI's object of type `json_object` or `json_schema`. `adapter` names a stored LoRA adapter
    to speak with, for engines with the ability `ADAPTER`. Once somebody sets `enough`, the reply ends as at a stop
    string, with what it cost.
    """

    max_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    min_tokens: int = 0
    bad_words: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    response_format: Mapping[str, Any] | None = None
    tools: Tools | None = None
    adapter: str | None = None
    enough: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of what a server tells apart from the reply as reasoning; never part of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the reply, natural logarithms of probabilities, and the likeliest tokens in its place, best first.

    `text` is what the token adds to the reply, empty while a character's bytes are incomplete; `data` are its own
    bytes, None where it has none (a control token among the alternatives).
    """

    text: str
    logprob: float
    data: bytes | None
    top: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class CallPart:
    """A part of call number `index`: its `id` and `name` come with the first, `arguments` are pieces of JSON."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """The last thing a stream yields: why it ended and what it cost, in tokens."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


Event = str | Thought | Token | CallPart | Finish
"""What a stream yields."""


def continues(messages: Sequence[Message]) -> bool:
    """Whether an engine goes on with the last message, instead of answering it."""
    return bool(messages) and messages[-1].role == "assistant" and messages[-1].content != ""


def said(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages without the empty one at the end that only says who speaks next."""
    return messages[:-1] if messages and messages[-1] == Message("assistant", "") else messages


class Engine(Protocol):
    """Speaks. `models.local.LocalEngine` runs anywhere; `models.upstream.UpstreamEngine` talks to vLLM."""

    @property
    def name(self) -> str:
        """The language model's name, as listed under /v1/models."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens that prompt and reply share."""
        ...

    @property
    def streams(self) -> int:
        """How many replies it speaks at once; more would wait inside."""
        ...

    @property
    def abilities(self) -> frozenset[str]:
        """The parameters of `OPTIONAL` that it honours, and `ADAPTER`; a caller refuses the others by name."""
        ...

    @property
    def opened(self) -> str:
        """The tag of a thought, such as `<think>`, with which the template begins every reply; else empty."""
        ...

    async def start(self) -> None:
        """Load or connect; returns when ready. Raises `EngineError` with a sentence a person can act on."""
        ...

    async def close(self) -> None:
        """Free what `start` took. Streams under way end with `EngineBroke`."""
        ...

    async def check(self) -> None:
        """Raise `EngineUnavailable` unless a `stream` could begin now."""
        ...

    async def drop_adapter(self, name: str) -> None:
        """Forget a stored adapter that is no longer there, where the engine has the ability."""
        ...

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the serving model's tokenizer, special tokens left out."""
        ...

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield pieces of text, then one `Finish`.

        Where `messages` end with the assistant's, its text is gone on with in the same turn, and only what is new is
        yielded, its first white space included; where that text is empty, the assistant begins to speak anew.

        With `Sampling.logprobs` every `Token` comes before the text it completes; with `Sampling.tools` calls come in
        `CallPart`s. Stop strings are never part of the text, unless `Sampling.include_stop` says so. Closing the
        generator stops the engine within a token. `session` is a stable key for session-affine routers; `owner`
        isolates prefix caches between tenants.
        """
        ...
