"""The OpenAI chat dialect as we read it: the fields of a request. What may stand together is checked in `checks`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.settings import Layout, OnDisconnect, Strategy
from app.text import STORABLE, JsonObject, Text, clean

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class Part(BaseModel):
    """A part of a message's content. Only those of type `text` and `refusal` can be read here."""

    type: Text
    text: Text | None = None
    refusal: Text | None = None


class CalledFunction(BaseModel):
    """Whom a call called, and the JSON that it was given."""

    name: Text
    arguments: Text


class ToolCall(BaseModel):
    """A call that the assistant made."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    """One message of a request."""

    role: Role
    content: Text | list[Part] | None = None
    name: Text | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Text | None = None

    @property
    def text(self) -> str:
        """Its text, parts joined."""
        if isinstance(self.content, list):
            return "".join(part.text or part.refusal or "" for part in self.content)
        return self.content or ""


class FunctionDefinition(BaseModel):
    """A function that may be called; `parameters` is the JSON schema of its arguments."""

    name: FunctionName
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class ToolDefinition(BaseModel):
    """A tool. Only functions are known here."""

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(BaseModel):
    """The name of a function."""

    name: FunctionName


class NamedTool(BaseModel):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(BaseModel):
    """The schema that an answer must keep to."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    name: FunctionName
    description: Text | None = None
    schema_: Annotated[JsonObject, Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = None


class Extensions(BaseModel):
    """What Moodline adds to a request, under `moodline`."""

    model_config = ConfigDict(extra="forbid")

    strategy: Strategy | None = None
    layout: Layout | None = None
    window: Annotated[int, Field(ge=2, le=1000)] | None = None
    stage: Annotated[str, StringConstraints(max_length=100), STORABLE] | None = None
    persona: Annotated[str, StringConstraints(max_length=100), STORABLE] | None = None
    trace: bool | None = None
    on_disconnect: OnDisconnect | None = None
    task: bool | None = None
    speakers: Annotated[str, StringConstraints(max_length=5_000), STORABLE] | None = None


User = Annotated[str, StringConstraints(max_length=200), STORABLE]
TokenId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200), STORABLE]


class ChatRequest(BaseModel):
    """POST /v1/chat/completions. Unknown fields are ignored, as OpenAI clients expect; see `checks.REFUSED`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "char/chai-mi",
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
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=1024)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    bad_words: Annotated[list[Stop], Field(max_length=128)] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=128)] | None = None
    include_stop_str_in_output: bool | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    user: User | None = None
    safety_identifier: User | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ToolDefinition], Field(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
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
    def reply_limit(self) -> str:
        """The name under which that limit came."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    @property
    def begins_anew(self) -> bool:
        """Whether the assistant is to begin another message after its own, where it would go on with that."""
        begun = bool(self.messages) and self.messages[-1].role == "assistant" and not self.messages[-1].tool_calls
        return begun and (self.add_generation_prompt is True or self.continue_final_message is False)

    @property
    def session_id(self) -> str | None:
        """The session named in the metadata."""
        named = (self.metadata or {}).get("session_id")
        return clean(named) if isinstance(named, str) else None
