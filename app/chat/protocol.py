"""The OpenAI chat dialect: what we read, what we answer, what we refuse by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.errors import BadRequest
from app.settings import Layout, Strategy
from app.text import STORABLE, Text, clean
from models.engine import Finish

UNSUPPORTED = ("tools", "functions", "logprobs", "top_logprobs", "logit_bias", "audio", "modalities", "prediction")
"""Parameters that would change the answer and that we can't honour; refused instead of ignored."""


class TextPart(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    """One message of a request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        """Its text, parts joined."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = None


class Extensions(BaseModel):
    """What Moodline adds to a request, under `moodline`."""

    model_config = ConfigDict(extra="forbid")

    strategy: Strategy | None = None
    layout: Layout | None = None
    window: Annotated[int, Field(ge=2, le=1000)] | None = None


Stop = Annotated[str, StringConstraints(min_length=1, max_length=200), STORABLE]


class ChatRequest(BaseModel):
    """POST /v1/chat/completions. Unknown fields are ignored, as OpenAI clients expect; see `UNSUPPORTED`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "char/lin-wanqing",
                    "user": "ana",
                    "messages": [{"role": "user", "content": "今晚有点难过，能陪我说说话吗？"}],
                    "stream": False,
                }
            ]
        },
    )

    model: Text
    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    user: Annotated[str, StringConstraints(max_length=200), STORABLE] | None = None
    safety_identifier: Annotated[str, StringConstraints(max_length=200), STORABLE] | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    moodline: Extensions = Extensions()

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, fields: Any) -> Any:
        # Front ends send null for every field they leave alone.
        if not isinstance(fields, dict):
            raise ValueError("the body must be a JSON object")
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def reply_tokens(self) -> int | None:
        """The limit of the reply, the newer name winning."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def session_id(self) -> str | None:
        """The session named in the metadata."""
        named = (self.metadata or {}).get("session_id")
        return clean(named) if isinstance(named, str) else None


def refuse_unsupported(body: ChatRequest) -> None:
    """Raise `BadRequest` for a parameter that would be silently ignored otherwise."""
    extra = body.model_extra or {}
    for name in UNSUPPORTED:
        if extra.get(name) not in (None, False, [], {}, 0):
            raise BadRequest(f"`{name}` is not supported here.", code="unsupported_parameter", param=name)
    if body.n not in (None, 1):
        raise BadRequest("`n` above 1 is not supported; ask again instead.", code="unsupported_parameter", param="n")
    if (body.response_format or {}).get("type", "text") != "text":
        raise BadRequest(
            "`response_format` other than text is not supported.", code="unsupported_parameter", param="response_format"
        )
    if body.stream_options is not None and not body.stream:
        raise BadRequest("`stream_options` is only allowed with `stream: true`.", param="stream_options")


def completion(answer_id: str, created: int, model: str, text: str, finish: Finish | None) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": text, "refusal": None}
    reason = finish.reason if finish else "stop"
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": usage(finish),
        "system_fingerprint": None,
    }


def chunk(answer_id: str, created: int, model: str, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """One event of a stream."""
    return {
        "id": answer_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
    }


def usage(finish: Finish | None) -> dict[str, Any]:
    """Token counts; zeros when the engine told none."""
    prompt, reply, cached = (
        (finish.prompt_tokens, finish.completion_tokens, finish.cached_tokens) if finish else (0, 0, 0)
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": reply,
        "total_tokens": prompt + reply,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
