"""Calls of functions: messages that hold them, and how an engine without a form for them reads and makes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from models.engine import CallPart, Finish, ParameterRefused, Tools
from models.scene import Message
from models.vocabulary import COMPACT

ASKED = """Call one of these functions and say nothing else. They are given as JSON:
{functions}
Answer in JSON with its name and its arguments, taken from what was said."""
RESULT, RESULT_ZH = "[Result of {name}]\n{text}\n[End of the result]", "【{name} 的结果】\n{text}\n【结果结束】"
CALL = re.compile(r'\{"name": "([^"]*)", "arguments": ')


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


def forced(tools: Tools | None) -> list[Mapping[str, Any]]:
    """The functions of which one must be called; none when nothing may be called.

    Raises:
        ParameterRefused: the assistant may choose whether to call; only a server with a parser of its own can tell.
    """
    if tools is None or tools.choice == "none":
        return []
    functions: list[Mapping[str, Any]] = [tool["function"] for tool in tools.functions]
    if isinstance(tools.choice, str):
        if tools.choice == "required":
            return functions
        raise ParameterRefused(
            "The embedded engine can't decide by itself whether to call a function. Set `tool_choice` to `required`, "
            "to a named function or to `none`, or serve a larger language model with vLLM.",
            "tool_choice",
        )
    return [function for function in functions if function["name"] == tools.choice["function"]["name"]]


def grammar(functions: Sequence[Mapping[str, Any]]) -> str:
    """What a call of one of `functions` looks like, in llguidance's variant of Lark."""
    calls = " | ".join(f"call{place}" for place in range(len(functions)))
    rules = [f"start: {calls}"]
    for place, function in enumerate(functions):
        begin = json.dumps(f'{{"name": "{function["name"]}", "arguments": ')
        rules.append(f'call{place}: {begin} arguments{place} "}}"')
        schema = {"type": "object", **(function.get("parameters") or {}), "x-guidance": COMPACT}
        rules.append(f"arguments{place}: %json {json.dumps(schema)}")
    return "\n".join(rules)


def in_words(messages: Sequence[Message], functions: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages for a template that knows no tools; with `functions` they end by asking for a call."""
    names = {call.id: call.name for message in messages if isinstance(message, Calling) for call in message.calls}
    told = [_in_words(message, names) for message in messages]
    if functions:
        listed = "\n".join(json.dumps(dict(function), ensure_ascii=False) for function in functions)
        told.append(Message("system", ASKED.format(functions=listed)))
    return told


def _in_words(message: Message, names: Mapping[str, str]) -> Message:
    if isinstance(message, Calling):
        calls = [f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}' for call in message.calls]
        return Message("assistant", "\n".join([*([message.content] if message.content else []), *calls]))
    if isinstance(message, Result):
        chinese = any("\u4e00" <= character <= "\u9fff" for character in message.content)
        name = names.get(message.call_id, message.call_id)
        return Message("user", (RESULT_ZH if chinese else RESULT).format(name=name, text=message.content))
    return message


class CallReader:
    """Reads a call that keeps to `grammar` while it is written."""

    def __init__(self) -> None:
        self._text = ""
        self._begun = False

    def feed(self, text: str) -> list[CallPart]:
        """What `text` adds. The last character is held back: at the end it is not the arguments'."""
        self._text += text
        parts = []
        if not self._begun and (begin := CALL.match(self._text)):
            self._begun = True
            self._text = self._text[begin.end() :]
            parts.append(CallPart(0, id=f"call_{uuid4().hex[:24]}", name=begin[1]))
        if self._begun and len(self._text) > 1:
            parts.append(CallPart(0, self._text[:-1]))
            self._text = self._text[-1]
        return parts

    def end(self, finish: Finish) -> list[CallPart]:
        """What is left when the reply is over; one that was cut off has arguments up to there."""
        return [CallPart(0, self._text)] if self._begun and finish.reason == "length" else []
