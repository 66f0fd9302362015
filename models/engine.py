"""The engine seam: something that streams a reply to a list of messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from models.scene import Message

FinishReason = Literal["stop", "length"]


class EngineError(Exception):
    """An engine could not answer.

    EngineError
    ├── EngineUnavailable   not loaded yet, connection refused, timed out: worth a retry
    ├── EngineRefused       the engine read the request and said no: a retry will not help
    │   └── PromptTooLong   more tokens than the context holds
    └── EngineBroke         it died while speaking
    """


class EngineUnavailable(EngineError):
    """The engine is loading, unreachable or too slow to begin."""


class EngineRefused(EngineError):
    """The engine rejected the request."""


class PromptTooLong(EngineRefused):
    """The prompt holds more tokens than the engine's context."""


class EngineBroke(EngineError):
    """The engine failed after it began to speak."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. None means the engine's own default. `max_tokens` counts the reply only."""

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


@dataclass(frozen=True, slots=True)
class Finish:
    """The last thing a stream yields: why it ended and what it cost, in tokens."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


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

    async def start(self) -> None:
        """Load or connect; returns when ready. Raises `EngineError` with a sentence a person can act on."""
        ...

    async def close(self) -> None:
        """Free what `start` took. Streams under way end with `EngineBroke`."""
        ...

    async def check(self) -> None:
        """Raise `EngineUnavailable` unless a `stream` could begin now."""
        ...

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the serving model's tokenizer, special tokens left out."""
        ...

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[str | Finish, None]:
        """Yield pieces of text, then one `Finish`.

        Stop strings are never part of the text. Closing the generator stops the engine within a token. `session` is a
        stable key for session-affine routers; `owner` isolates prefix caches between tenants.
        """
        ...
