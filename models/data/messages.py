"""OpenAI's messages, for fine-tuning and as TRL has them: `messages`, or a `prompt` with `chosen` and `rejected`.

Pairs also come as `input.messages`, `preferred_output` and `non_preferred_output` (OpenAI's preference form), as plain
texts (the human-like pairs, 2501.05032), and as two whole conversations that differ in their last message.
"""

from __future__ import annotations

import json
from typing import Any

from models.data.alpaca import As
from models.data.rows import Row
from models.data.talk import Talk, calls_of, result, result_of, tools_of
from models.example import Learn
from models.scene import Message

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def read(row: Row) -> Talk:
    """The talk of a row. Raises BadRow."""
    if "messages" in row.fields:
        told, learn = _told(row, "messages", row.fields["messages"]), _learn(row)
        if not told or told[-1].role != "assistant":
            raise row.fault("messages must end with what the assistant answers.")
        wrong = ""
        *before, last = told
        if (rejected := row.fields.get("rejected")) is not None:
            wrong = _answer(row, "rejected", rejected, before)
        return _talk(row, before, last.content, wrong, "reply" if wrong else learn)
    begun, good, bad = _pair(row)
    prompt = _told(row, "prompt", begun)
    if not prompt and isinstance(good, list) and good:
        prompt = _told(row, "chosen", good)[:-1]
    reply, wrong = _answer(row, "chosen", good, prompt), _answer(row, "rejected", bad, prompt)
    return _talk(row, prompt, reply, wrong, "reply" if reply and wrong else "talk")


def write(talk: Talk, form: As) -> dict[str, Any]:
    """The row of a talk; earlier replies that are not learnt from have the weight 0."""
    head = [{"role": "system", "content": talk.system}] if talk.system else []
    told: list[dict[str, Any]] = [*head]
    for place, message in enumerate(talk.history):
        told.append(_item(message, talk.history[place - 1] if place else None, told))
    tools = [{"type": "function", "function": tool} for tool in json.loads(talk.tools or "[]")]
    extra: dict[str, Any] = {"tools": tools} if tools else {}
    if form == "preference":
        sides = {"chosen": [_spoken(talk.reply, told)], "rejected": [_spoken(talk.rejected, told)]}
        return {"prompt": told, **sides, **extra}
    if form == "kto":
        return {"prompt": told, "completion": [_spoken(talk.reply or talk.rejected, told)], "label": bool(talk.reply)}
    if talk.learn == "reply":
        told = [item | {"weight": 0} if item["role"] == "assistant" else item for item in told]
    return {"messages": [*told, _spoken(talk.reply, told)], **extra}


def _pair(row: Row) -> tuple[Any, Any, Any]:
    """Prompt, and the wanted and the unwanted reply as they stand in the row."""
    fields = row.fields
    if "preferred_output" in fields:
        asked = fields.get("input")
        if not isinstance(asked, dict):
            raise row.fault("input must be an object with messages.")
        return asked.get("messages"), fields["preferred_output"], fields.get("non_preferred_output")
    if "completion" in fields and isinstance(label := fields.get("label"), bool):
        said = fields["completion"]
        return fields.get("prompt"), *((said, None) if label else (None, said))
    return fields.get("prompt"), fields.get("chosen"), fields.get("rejected")


def _talk(row: Row, told: list[Message], reply: str, rejected: str, learn: Learn) -> Talk:
    leading = next((n for n, message in enumerate(told) if message.role != "system"), len(told))
    history = tuple(told[leading:])
    if not history or history[-1].role != "user":
        raise row.fault("what is answered must be a user's message.")
    system = "\n\n".join(message.content for message in told[:leading])
    try:
        tools = tools_of(row.fields.get("tools"))
    except ValueError as error:
        raise row.fault(f"tools: {error}") from None
    if not (reply or rejected):
        raise row.fault("there is no reply.")
    return Talk(history, reply, rejected, system, tools, learn)


def _told(row: Row, name: str, value: Any) -> list[Message]:
    """Messages of a list of them, or of a plain text, which the user says."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Message("user", row.checked(value, name))]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise row.fault(f"{name} must be a list of messages.")
    told: list[Message] = []
    for place, item in enumerate(value):
        where = f"{name}.{place}"
        role = _ROLES.get(str(item.get("role")))
        if role is None:
            raise row.fault(f"{where}.role is {item.get('role')!r}; expected one of {', '.join(_ROLES)}.")
        text = _content(row, where, item)
        told.append(result(text, told[-1] if told else None) if role == "tool" else Message(role, text))  # type: ignore[arg-type]  # one of _ROLES
    return told


def _content(row: Row, where: str, item: dict[str, Any]) -> str:
    """What a message says: its text, its parts' texts, and its calls, a line each."""
    content, calls = item.get("content"), item.get("tool_calls") or []
    if isinstance(content, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            raise row.fault(f"{where}.content has parts that are no text; pictures and sound can't be learnt from.")
        content = "".join(row.checked(part.get("text"), where, empty=True) for part in content)
    lines = [row.checked(content, f"{where}.content")] if not calls or content else []
    for call in calls:
        try:
            function = call["function"]
            arguments = json.loads(function["arguments"])
            lines.append(json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False))
        except (KeyError, TypeError, ValueError, RecursionError):
            raise row.fault(f"{where}.tool_calls must be functions with a name and JSON arguments.") from None
    return "\n".join(lines)


def _answer(row: Row, name: str, value: Any, prompt: list[Message]) -> str:
    """The reply in a text, a message, a list of one, or a whole conversation that begins with the prompt."""
    if value is None:
        if "label" in row.fields:
            return ""
        raise row.fault(f"{name} is missing.")
    if isinstance(value, str):
        return row.checked(value, name)
    told = _told(row, name, value if isinstance(value, list) else [value])
    if not told or told[-1].role != "assistant":
        raise row.fault(f"{name} must end with what the assistant says.")
    if told[:-1] not in ([], prompt):
        raise row.fault(f"{name} must be one reply to the prompt; several turns are to be one row each.")
    return told[-1].content


def _learn(row: Row) -> Learn:
    """Which replies a row's weights leave."""
    spoken = [item for item in row.objects("messages") if item.get("role") == "assistant"]
    weights = [bool(item.get("weight", 1)) for item in spoken]
    if not weights or all(weights):
        return "talk"
    if weights[-1] and not any(weights[:-1]):
        return "reply"
    raise row.fault("weight 0 can be kept for all replies but the last, or for none.")


def _item(message: Message, before: Message | None, told: list[dict[str, Any]]) -> dict[str, Any]:
    if message.role == "assistant":
        return _spoken(message.content, told)
    answer = result_of(message, before)
    if answer is None or before is None:
        return {"role": message.role, "content": message.content}
    calls = told[-1].get("tool_calls") or [{"id": "call_0"}]
    return {"role": "tool", "tool_call_id": calls[0]["id"], "content": answer}


def _spoken(text: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    calls = calls_of(text)
    if not calls or not _as_written(text, calls):
        return {"role": "assistant", "content": text}
    made = [
        {
            "id": f"call_{len(told)}_{number}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
        }
        for number, call in enumerate(calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def _as_written(text: str, calls: list[dict[str, Any]]) -> bool:
    """Whether the calls, written anew, are the text: else it stays text, so that nothing of it is lost."""
    return text == "\n".join(json.dumps(call, ensure_ascii=False) for call in calls)
