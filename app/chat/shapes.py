"""What /v1 answers, for the OpenAPI document. The answers themselves are made in `answer`, piece by piece."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Reason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class CalledFunctionOut(BaseModel):
    """Whom the language model calls, and with what: JSON as it wrote it."""

    name: str
    arguments: str


class ToolCallOut(BaseModel):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: CalledFunctionOut


class ReplyOut(BaseModel):
    """What was said."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str = Field(
        "", description="The bare language model's thoughts, where its server has them apart."
    )
    tool_calls: list[ToolCallOut] = []


class TokenOut(BaseModel):
    """A token and how likely it was."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChosenTokenOut(TokenOut):
    """A token that was said, and those that were likely in its place."""

    top_logprobs: list[TokenOut]


class LogprobsOut(BaseModel):
    """The tokens of a reply."""

    content: list[ChosenTokenOut]
    refusal: None


class ChoiceOut(BaseModel):
    """One of the replies that were asked for."""

    index: int
    message: ReplyOut
    logprobs: LogprobsOut | None
    finish_reason: Reason


class CachedTokens(BaseModel):
    """How much of the prompt needed no work."""

    cached_tokens: int


class Usage(BaseModel):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class ChatCompletion(BaseModel):
    """A whole answer. With `stream` it comes as `chat.completion.chunk` events instead, the last one `[DONE]`."""

    id: str = Field(pattern="^chatcmpl-")
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChoiceOut]
    usage: Usage
    moodline: dict[str, Any] = Field(default={}, description="With `moodline.trace`: the turn in short.")


class ModelOut(BaseModel):
    """What can be asked for as `model`."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """Everything the caller can talk with."""

    object: Literal["list"]
    data: list[ModelOut]
