"""Calls of functions: messages that hold them, and how an engine without a form for them reads and makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from models.engine import CallPart, Finish, Tools, continues
from models.scene import Message
from models.vocabulary import COMPACT

ASKED = """Call one of these functions and say nothing else. They are given as JSON:
{functions}
Answer in JSON with its name and its arguments, taken from what was said."""
OFFERED = """You can call one of these functions. They are given as JSON:
{functions}
Only where the answer needs one, write nothing but such JSON, with arguments taken from what was said:
{{"name": "the function's name", "arguments": {{}}}}
Else, and once you have the result, answer in words."""
WORDS = r"/\s*[^\s{](?s:.*)/"
"""Any text but one that could be a call."""
RESULT, RESULT_ZH = "[Result of {name}]\n{text}\n[End of the result]", "【{name} 的结果】\n{text}\n【结果结束】"


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the assistant called; `arguments` are JSON as it wrote them."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Calling(Message):
    """What the assistant said, possibly nothing, and whom it called."""

    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Result(Message):
    """What a function answered to the call `call_id`; its role is `tool`."""

    call_id: str = ""


def offered(tools: Tools | None, messages: Sequence[Message]) -> list[Mapping[str, Any]]:
    """The functions of which one may be called, or must be; none for a reply that has begun already."""
    if tools is None or tools.choice == "none" or (tools.choice == "auto" and continues(messages)):
        return []
    functions: list[Mapping[str, Any]] = [tool["function"] for tool in tools.functions]
    if isinstance(tools.choice, str):
        return functions
    return [function for function in functions if function["name"] == tools.choice["function"]["name"]]


def optional(tools: Tools | None) -> bool:
    """Whether words will do as well as a call."""
    return tools is not None and tools.choice == "auto"


def ending(tools: Tools | None, finish: Finish) -> Finish:
    """How a reply has ended, in OpenAI's words: a call of the function that the request named ends with `stop`."""
    named = tools is not None and not isinstance(tools.choice, str)
    return replace(finish, reason="stop") if named and finish.reason == "tool_calls" else finish


def grammar(functions: Sequence[Mapping[str, Any]], otherwise: str = "") -> str:
    """What a call of one of `functions` looks like, or what else there may be, in llguidance's variant of Lark."""
    calls = " | ".join(f"call{place}" for place in range(len(functions)))
    rules = [f"start: {calls} | words", f"words: {otherwise}"] if otherwise else [f"start: {calls}"]
    for place, function in enumerate(functions):
        rules.append(f'call{place}: {json.dumps(_beginning(function))} arguments{place} "}}"')
        schema = {"type": "object", **(function.get("parameters") or {}), "x-guidance": COMPACT}
        rules.append(f"arguments{place}: %json {json.dumps(schema)}")
    return "\n".join(rules)


def words(form: Mapping[str, Any] | None) -> str:
    """What a reply that is no call looks like, where it must have the `form` of `Sampling.response_format`."""
    if form is None:
        return WORDS
    schema = form["json_schema"]["schema"] if form["type"] == "json_schema" else {"type": "object"}
    return f"%json {json.dumps({**schema, 'x-guidance': COMPACT})}"


def in_words(
    messages: Sequence[Message], functions: Sequence[Mapping[str, Any]], *, may: bool = False
) -> list[Message]:
    """The messages for a template that knows no tools. With `functions` they end by asking for a call, or, where one
    `may` be made, begin by telling how."""
    names = {call.id: call.name for message in messages if isinstance(message, Calling) for call in message.calls}
    told = [_in_words(message, names) for message in messages]
    if not functions:
        return told
    listed = "\n".join(json.dumps(dict(function), ensure_ascii=False) for function in functions)
    if not may:
        return [*told, Message("system", ASKED.format(functions=listed))]
    offer = OFFERED.format(functions=listed)
    if told and told[0].role == "system":
        return [Message("system", f"{told[0].content}\n\n{offer}"), *told[1:]]
    return [Message("system", offer), *told]


def _in_words(message: Message, names: Mapping[str, str]) -> Message:
    if isinstance(message, Calling):
        calls = [f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}' for call in message.calls]
        return Message("assistant", "\n".join([*([message.content] if message.content else []), *calls]))
    if isinstance(message, Result):
        chinese = any("\u4e00" <= character <= "\u9fff" for character in message.content)
        name = names.get(message.call_id, message.call_id)
        return Message("user", (RESULT_ZH if chinese else RESULT).format(name=name, text=message.content))
    return message


def _beginning(function: Mapping[str, Any]) -> str:
    return f'{{"name": "{function["name"]}", "arguments": '


class CallReader:
    """Reads a reply that keeps to `grammar` while it is written. `calls` tells whether it calls, once that is known."""

    def __init__(self, functions: Sequence[Mapping[str, Any]]) -> None:
        self._beginnings = {_beginning(function): str(function["name"]) for function in functions}
        self._text = ""
        self.calls: bool | None = None

    def feed(self, text: str) -> list[CallPart]:
        """What `text` adds to a call. The last character is held back: at the end it is not the arguments'."""
        self._text += text
        parts = []
        if self.calls is None and (begin := next(filter(self._text.startswith, self._beginnings), None)):
            self.calls = True
            self._text = self._text.removeprefix(begin)
            parts.append(CallPart(0, id=f"call_{uuid4().hex[:24]}", name=self._beginnings[begin]))
        elif self.calls is None and not any(begin.startswith(self._text) for begin in self._beginnings):
            self.calls = False
        if self.calls and len(self._text) > 1:
            parts.append(CallPart(0, self._text[:-1]))
            self._text = self._text[-1]
        return parts

    def end(self, finish: Finish) -> list[CallPart]:
        """What is left when the reply is over; one that was cut off has arguments up to there."""
        return [CallPart(0, self._text)] if self.calls and finish.reason == "length" else []
