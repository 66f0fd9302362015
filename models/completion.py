"""OpenAI's chat completion dialect, as far as a streaming client speaks it: what is asked, what comes back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Literal, get_args

from models.engine import (
    OPTIONAL,
    CallPart,
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    FinishReason,
    ParameterRefused,
    PromptTooLong,
    Sampling,
    Thought,
    Token,
    continues,
    said,
)
from models.neutralise import neutralise
from models.scene import Message
from models.stops import StopFilter
from models.tools import Calling, Result

Dialect = Literal["openai", "vllm"]

EVERYWHERE = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "response_format")
VLLM_ONLY = ("top_k", "min_p", "repetition_penalty")
ABILITIES: dict[Dialect, frozenset[str]] = {
    "openai": frozenset({"logprobs", "logit_bias", "response_format", "tools"}),
    "vllm": OPTIONAL,
}
MAX_STOPS = 4
"""OpenAI and vLLM take no more stop strings than this; the others are watched for on our side."""

TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum.{0,20}tokens|too (long|many tokens)|max_model_len|max_new_tokens",
    re.IGNORECASE,
)
RETRY = frozenset({408, 409, 425, 429})
QUOTED = 500
LEAST = -9999.0
"""What OpenAI writes for the logarithm of a probability that is nearly 0; JSON has no infinity."""


def request_body(
    model: str, messages: Sequence[Message], sampling: Sampling, *, dialect: Dialect, owner: str
) -> dict[str, Any]:
    """The JSON body. Only known fields are sent, those outside OpenAI's own only to vLLM.

    Control tokens in messages are neutralised, since the server will read them as turns. A last message of the
    assistant's is what vLLM is told to go on with; other servers take it as a prefill, or refuse it.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [_wired(message) for message in said(messages)],
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    fields = EVERYWHERE + (VLLM_ONLY if dialect == "vllm" else ())
    body |= {field: value for field in fields if (value := getattr(sampling, field)) is not None}
    if stops := [stop for stop in sampling.stop if stop]:
        body["stop"] = stops[:MAX_STOPS]
    body |= _more(sampling)
    if dialect == "vllm":
        body["stream_options"]["continuous_usage_stats"] = True
        body |= {"add_generation_prompt": False, "continue_final_message": True} if continues(messages) else {}
        body |= {"cache_salt": owner} if owner else {}
        body |= _only_vllm(sampling)
    return body


def _wired(message: Message) -> dict[str, Any]:
    """A message as it travels."""
    wired: dict[str, Any] = {"role": message.role, "content": neutralise(message.content)}
    if isinstance(message, Calling):
        wired["content"] = wired["content"] or None
        wired["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": neutralise(call.name), "arguments": neutralise(call.arguments)},
            }
            for call in message.calls
        ]
    if isinstance(message, Result):
        wired["tool_call_id"] = message.call_id
    return wired


def _more(sampling: Sampling) -> dict[str, Any]:
    """The fields of every dialect that have another form here than there."""
    body: dict[str, Any] = {}
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if sampling.tools:
        body |= {"tools": list(sampling.tools.functions), "tool_choice": sampling.tools.choice}
        if sampling.tools.parallel is not None:
            body["parallel_tool_calls"] = sampling.tools.parallel
    return body


def _only_vllm(sampling: Sampling) -> dict[str, Any]:
    """What only vLLM takes, as far as it was asked for."""
    fields = {
        "min_tokens": sampling.min_tokens,
        "bad_words": list(sampling.bad_words),
        "stop_token_ids": list(sampling.stop_token_ids),
        "include_stop_str_in_output": sampling.include_stop,
    }
    return {field: value for field, value in fields.items() if value}


class StreamedReply:
    """Reads the events of one streamed completion.

    `usage` is the last that the server named; without one, tokens are estimated as pieces of text.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.reason: FinishReason | None = None
        self.spoke = False
        self.usage: dict[str, Any] = {}
        self.pieces = 0
        self._stops = StopFilter(sampling.stop, included=sampling.include_stop, enough=sampling.enough)
        self._surrogate = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop string came that the server let through, or it was enough; nothing after it matters."""
        return self._stops.stopped

    def read(self, data: str) -> list[str | Thought | Token | CallPart]:
        """What event `data` lets out: a thought, tokens, then the text they make, then parts of calls.

        Raises an `EngineError` for an error event or one that is no JSON.
        """
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
            return []
        if choice.get("finish_reason"):
            named = choice["finish_reason"]
            self.reason = named if named in get_args(FinishReason) else "stop"
        delta = choice.get("delta") or {}
        if thought := _thought(delta):
            self.pieces += 1
            return [Thought(thought)]
        content = delta.get("content")
        text = self._speak(content) if isinstance(content, str) and content else ""
        calls = list(_calls(delta.get("tool_calls")))
        self.spoke = self.spoke or bool(calls)
        return [*_tokens(choice.get("logprobs")), *([text] if text else []), *calls]

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


def _thought(delta: dict[str, Any]) -> str:
    """Reasoning that comes apart from the text, as DeepSeek and as vLLM and OpenRouter name it."""
    found = (delta.get(field) for field in ("reasoning_content", "reasoning"))
    return next((text for text in found if isinstance(text, str) and text), "") if not delta.get("content") else ""


def _tokens(logprobs: Any) -> Iterator[Token]:
    """The tokens of a chunk's `logprobs`; entries in another form than OpenAI's are left out."""
    for entry in (logprobs.get("content") or ()) if isinstance(logprobs, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("token"), str):
            top = entry.get("top_logprobs") or ()
            yield _token(entry, tuple(_token(other) for other in top if isinstance(other, dict)))


def _token(entry: dict[str, Any], top: tuple[Token, ...] = ()) -> Token:
    data, logprob = entry.get("bytes"), entry.get("logprob")
    return Token(
        str(entry.get("token", "")),
        float(logprob) if isinstance(logprob, int | float) else LEAST,
        bytes(data) if isinstance(data, list) and all(isinstance(n, int) and 0 <= n < 256 for n in data) else None,
        top,
    )


def _calls(parts: Any) -> Iterator[CallPart]:
    """The parts of calls in a delta."""
    for place, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            function = part.get("function") or {}
            index = part.get("index")
            yield CallPart(
                index if isinstance(index, int) else place,
                str(function.get("arguments") or ""),
                str(part.get("id") or ""),
                str(function.get("name") or ""),
            )


class ModelMissing(EngineRefused):
    """The server has no model or adapter of this name."""


class ServerFailed(EngineUnavailable):
    """The server answered, but failed at it."""


def refusal(status: int, body: str, retry_after: float | None = None) -> EngineError:
    """The error for an HTTP answer other than 200; `retry_after` are the seconds it asked to be left alone for."""
    try:
        parsed = json.loads(body)
        said = _message(parsed.get("error", parsed) if isinstance(parsed, dict) else parsed)
    except ValueError:
        said = body.strip()[:QUOTED] or "nothing"
    answer = f"The language model's server answered {status}: {said}"
    if status in RETRY or status >= 500:
        return (ServerFailed if status >= 500 else EngineUnavailable)(answer, retry_after)
    if status in (400, 413, 422) and TOO_LONG.search(body):
        return PromptTooLong(answer)
    if status in (400, 422):
        return ParameterRefused(answer)
    if status in (401, 403):
        return EngineRefused(f"{answer}. Check the API key.")
    if status < 400:
        return EngineRefused(f"{answer}. Name the address it redirects to, ending in /v1.")
    return (ModelMissing if status == 404 else EngineRefused)(answer)


def seconds_until(retry_after: str, now: float) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3): a number or a date; None for anything else.

    `now` is the time since the epoch in seconds.
    """
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _message(error: Any) -> str:
    said = error.get("message") or error.get("detail") or error if isinstance(error, dict) else error
    return str(said)[:QUOTED]
