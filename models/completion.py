"""OpenAI's chat completion dialect, as far as a streaming client speaks it: what is asked, what comes back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from models.engine import (
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    FinishReason,
    PromptTooLong,
    Sampling,
)
from models.neutralise import neutralise
from models.scene import Message
from models.stops import StopFilter

Dialect = Literal["openai", "vllm"]

EVERYWHERE = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
VLLM_ONLY = ("top_k", "min_p", "repetition_penalty")
MAX_STOPS = 4
"""OpenAI takes no more stop strings than this; the others are watched for on our side."""

TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum.{0,20}tokens|too (long|many tokens)|max_model_len|max_new_tokens",
    re.IGNORECASE,
)
RETRY = frozenset({408, 409, 425, 429})
QUOTED = 500


def request_body(
    model: str, messages: Sequence[Message], sampling: Sampling, *, dialect: Dialect, owner: str
) -> dict[str, Any]:
    """The JSON body. Only known fields are sent, those outside OpenAI's own only to vLLM.

    Control tokens in messages are neutralised, since the server will read them as turns.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": neutralise(message.content)} for message in messages],
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    fields = EVERYWHERE + (VLLM_ONLY if dialect == "vllm" else ())
    body |= {field: value for field in fields if (value := getattr(sampling, field)) is not None}
    stops = [stop for stop in sampling.stop if stop]
    if stops:
        body["stop"] = stops if dialect == "vllm" else stops[:MAX_STOPS]
    if dialect == "vllm":
        body["stream_options"]["continuous_usage_stats"] = True
        body |= {"cache_salt": owner} if owner else {}
    return body


class StreamedReply:
    """Reads the events of one streamed completion.

    `usage` is the last that the server named; without one, tokens are estimated as pieces of text.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.reason: FinishReason | None = None
        self.spoke = False
        self.usage: dict[str, Any] = {}
        self.pieces = 0
        self._stops = StopFilter(stop)
        self._surrogate = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop string came that the server let through; nothing after it matters."""
        return self._stops.stopped

    def read(self, data: str) -> str:
        """The text that event `data` lets out. Raises an `EngineError` for an error event or one that is no JSON."""
        try:
            chunk = json.loads(data)
        except ValueError as error:
            raise self.failure(f"an event is not JSON: {data[:QUOTED]!r}") from error
        if not isinstance(chunk, dict) or chunk.get("error"):
            raise self._error(chunk)
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        choice = next(iter(chunk.get("choices") or ()), None)
        if not isinstance(choice, dict):
            return ""
        if choice.get("finish_reason"):
            self.reason = "length" if choice["finish_reason"] == "length" else "stop"
        content = (choice.get("delta") or {}).get("content")
        return self._speak(content) if isinstance(content, str) and content else ""

    def flush(self) -> str:
        """What was held back, at the end."""
        return self._stops.flush()

    def tokens(self, field: str) -> int | None:
        """`prompt_tokens`, `completion_tokens` or `cached_tokens` as the server counted; None if it did not."""
        details = self.usage.get("prompt_tokens_details") if field == "cached_tokens" else self.usage
        value = details.get(field) if isinstance(details, dict) else None
        return value if isinstance(value, int) and value >= 0 else None

    def failure(self, reason: str) -> EngineError:
        """The error for a stream that failed: `EngineBroke` once text came, `EngineUnavailable` before."""
        return (EngineBroke if self.spoke else EngineUnavailable)(f"The language model's server failed: {reason}.")

    def _speak(self, content: str) -> str:
        """Pair surrogates that were split over two events: a character outside the basic plane, escaped in JSON."""
        text = self._surrogate + content
        self._surrogate = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        text = text[: len(text) - len(self._surrogate)]
        self.spoke = True
        self.pieces += 1
        return self._stops.push(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    def _error(self, chunk: Any) -> EngineError:
        error = chunk.get("error") if isinstance(chunk, dict) else chunk
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code < 600 and not self.spoke:
            return refusal(code, json.dumps(chunk))
        return self.failure(_message(error))


def refusal(status: int, body: str) -> EngineError:
    """The error for an HTTP answer other than 200."""
    try:
        parsed = json.loads(body)
        said = _message(parsed.get("error", parsed) if isinstance(parsed, dict) else parsed)
    except ValueError:
        said = body.strip()[:QUOTED] or "nothing"
    answer = f"The language model's server answered {status}: {said}"
    if status in RETRY or status >= 500:
        return EngineUnavailable(answer)
    if status in (400, 413, 422) and TOO_LONG.search(body):
        return PromptTooLong(answer)
    if status in (401, 403):
        return EngineRefused(f"{answer}. Check the API key.")
    if status < 400:
        return EngineRefused(f"{answer}. Name the address it redirects to, ending in /v1.")
    return EngineRefused(answer)


def _message(error: Any) -> str:
    said = error.get("message") or error.get("detail") or error if isinstance(error, dict) else error
    return str(said)[:QUOTED]
