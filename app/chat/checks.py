"""What may not stand in a request, or not together: each rule names the parameter that broke it."""

from __future__ import annotations

from app.chat.protocol import ChatMessage, ChatRequest, NamedTool
from app.errors import BadRequest
from models.engine import Engine

REFUSED = {
    "functions": "use `tools`",
    "function_call": "use `tool_choice`",
    "audio": "replies are text",
    "prediction": "there is no speculative decoding of a given text",
    "web_search_options": "nothing is searched",
    "chat_template": "a template is a program and never taken from a request",
    "chat_template_kwargs": "what a template is told is never taken from a request",
}
"""Parameters that would change the answer and that we can't honour, with the reason; refused instead of ignored."""


def check_request(body: ChatRequest, engine: Engine) -> None:
    """Raise `BadRequest` for the first rule that is broken."""
    _check_refused(body)
    for place, message in enumerate(body.messages):
        _check_message(message, f"messages.{place}")
    if body.stream_options is not None and not body.stream:
        raise BadRequest("`stream_options` is only allowed with `stream: true`.", param="stream_options")
    if body.top_logprobs is not None and not body.logprobs:
        raise BadRequest("`top_logprobs` needs `logprobs: true`.", param="top_logprobs")
    if body.response_format and body.response_format.type == "json_schema" and not body.response_format.json_schema:
        raise BadRequest(
            "`response_format` of type json_schema needs a `json_schema`.", param="response_format.json_schema"
        )
    _check_who_speaks(body)
    _check_tools(body)
    _check_abilities(body, engine)


def _check_refused(body: ChatRequest) -> None:
    extra = body.model_extra or {}
    for name, why in REFUSED.items():
        if extra.get(name) not in (None, False, [], {}, ""):
            raise BadRequest(f"`{name}` is not supported here: {why}.", code="unsupported_parameter", param=name)
    if extra.get("modalities", ["text"]) not in (["text"], []):
        raise BadRequest(
            "`modalities` other than text are not supported.", code="unsupported_parameter", param="modalities"
        )


def _check_message(message: ChatMessage, place: str) -> None:
    if isinstance(message.content, list):
        for number, part in enumerate(message.content):
            _check_part(part.type, part.text if part.type == "text" else part.refusal, f"{place}.content.{number}")
    if message.content is None and not (message.role == "assistant" and message.tool_calls):
        raise BadRequest(f"{place}.content is missing.", param=f"{place}.content")
    if message.tool_calls and message.role != "assistant":
        raise BadRequest("Only the assistant calls tools.", param=f"{place}.tool_calls")
    if message.role == "tool" and not message.tool_call_id:
        raise BadRequest(
            "A message of the role tool names the call that it answers, `tool_call_id`.", param=f"{place}.tool_call_id"
        )
    if message.role == "function" and not message.name:
        raise BadRequest("A message of the role function names its function, `name`.", param=f"{place}.name")


def _check_part(kind: str, text: str | None, place: str) -> None:
    if kind not in ("text", "refusal"):
        raise BadRequest(
            f"Content parts of type {kind!r} are not supported; only text can be read here.",
            code="unsupported_content",
            param=f"{place}.type",
        )
    if text is None:
        raise BadRequest(f"The content part has no `{kind}`.", param=f"{place}.{kind}")


def _check_who_speaks(body: ChatRequest) -> None:
    """vLLM's two flags, as vLLM has them, but that a last message of the assistant's is gone on with by default."""
    last = body.messages[-1]
    begun = last.role == "assistant" and not last.tool_calls and bool(last.text)
    if body.add_generation_prompt and body.continue_final_message:
        raise BadRequest(
            "`add_generation_prompt` and `continue_final_message` exclude each other; set one of them to false.",
            param="continue_final_message",
        )
    if body.continue_final_message and not begun:
        raise BadRequest(
            "`continue_final_message` needs a last message of the assistant's, with text.",
            param="continue_final_message",
        )
    if body.add_generation_prompt is False and not begun:
        raise BadRequest(
            "Without a generation prompt nobody would speak: `add_generation_prompt: false` needs a last message of "
            "the assistant's to continue.",
            param="add_generation_prompt",
        )


def _check_tools(body: ChatRequest) -> None:
    if body.tools is None:
        if body.tool_choice is not None:
            raise BadRequest("`tool_choice` is only allowed with `tools`.", param="tool_choice")
        return
    names = [tool.function.name for tool in body.tools]
    if len(set(names)) < len(names):
        raise BadRequest("Two tools have the same name.", param="tools")
    if isinstance(body.tool_choice, NamedTool) and body.tool_choice.function.name not in names:
        raise BadRequest(
            f"`tool_choice` names {body.tool_choice.function.name!r}, which is not among the tools.",
            param="tool_choice",
        )


def _check_abilities(body: ChatRequest, engine: Engine) -> None:
    wanted = {
        "logprobs": body.logprobs,
        "logit_bias": body.logit_bias,
        "response_format": body.response_format and body.response_format.type != "text",
        "tools": body.tools,
        "top_k": body.top_k not in (None, 0, -1),
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty not in (None, 1),
        "min_tokens": body.min_tokens,
        "bad_words": body.bad_words,
        "stop_token_ids": body.stop_token_ids,
        "include_stop_str_in_output": body.include_stop_str_in_output,
    }
    for name, asked in wanted.items():
        if asked and name not in engine.abilities:
            raise BadRequest(
                f"`{name}` is not supported by the engine that serves {engine.name or 'this model'!r}. Leave it out.",
                code="unsupported_parameter",
                param=name,
            )
