"""ShareGPT rows, as LLaMA-Factory reads them: who speaks is tagged, and user and assistant take turns.

`human` and `observation` stand at odd places, `gpt` and `function_call` at even ones; a system prompt is a column, or
the first message. Other tags and columns are those that `dataset_info.json` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.data.alpaca import As
from models.data.rows import Row
from models.data.talk import Talk, calls_of, result, result_of, tools_of
from models.scene import Message

COLUMNS: Mapping[str, str] = {
    "messages": "conversations",
    "system": "system",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "kto_tag",
}
TAGS: Mapping[str, str] = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def read(row: Row, columns: Mapping[str, str] = COLUMNS, tags: Mapping[str, str] = TAGS) -> Talk:
    """The talk of a row. Raises BadRow where turns are missing or out of order."""
    turns = [_turn(row, item, tags) for item in row.objects(columns["messages"])]
    if not turns:
        raise row.fault(f"{columns['messages']} is empty; nobody says anything.")
    system = row.text(columns["system"], empty=True)
    if turns[0][0] == tags["system_tag"]:
        system = turns.pop(0)[1]
    told: list[Message] = []
    for role, text in turns:
        told.append(_message(row, role, text, told, tags))
    chosen, rejected = (row.fields.get(columns[name]) for name in ("chosen", "rejected"))
    reply = wrong = ""
    if chosen is not None or rejected is not None:
        reply, wrong = (_answer(row, row.fields.get(columns[name]), name, tags) for name in ("chosen", "rejected"))
    elif told and told[-1].role == "assistant":
        reply = told.pop().content
        if (tag := row.fields.get(columns["kto_tag"])) is not None:
            if not isinstance(tag, bool):
                raise row.fault(f"{columns['kto_tag']} must be true or false.")
            reply, wrong = (reply, "") if tag else ("", reply)
    if not told or told[-1].role != "user" or not (reply or wrong):
        raise row.fault(f"the talk must end with {tags['user_tag']!r} and then what {tags['assistant_tag']!r} answers.")
    pair = bool(reply and wrong)
    try:
        tools = tools_of(row.fields.get(columns["tools"]))
    except ValueError as error:
        raise row.fault(f"tools: {error}") from None
    return Talk(tuple(told), reply, wrong, system, tools, "reply" if pair else "talk")


def write(talk: Talk, form: As) -> dict[str, Any]:
    """The row of a talk in the usual tags."""
    told = talk.by_turns()
    said = list(told.history)
    items = [_item(message, said[place - 1] if place else None) for place, message in enumerate(said)]
    row: dict[str, Any] = {"conversations": items}
    if form == "preference":
        row |= {name: _spoken(text) for name, text in (("chosen", talk.reply), ("rejected", talk.rejected))}
    else:
        items.append(_spoken(talk.reply or talk.rejected))
        row |= {"kto_tag": bool(talk.reply)} if form == "kto" else {}
    return row | {name: text for name, text in (("system", told.system), ("tools", told.tools)) if text}


def _turn(row: Row, item: dict[str, Any], tags: Mapping[str, str]) -> tuple[str, str]:
    role, content = item.get(tags["role_tag"]), item.get(tags["content_tag"])
    known = [value for name, value in tags.items() if name not in ("role_tag", "content_tag")]
    if role not in known:
        raise row.fault(f"{tags['role_tag']} is {role!r}; expected one of {', '.join(known)}.")
    return str(role), row.checked(content, tags["content_tag"])


def _message(row: Row, role: str, text: str, told: list[Message], tags: Mapping[str, str]) -> Message:
    """The next message. Raises BadRow where it is not this one's turn."""
    asks = role in (tags["user_tag"], tags["observation_tag"])
    if role == tags["system_tag"] or asks != (len(told) % 2 == 0):
        expected = ("user_tag", "observation_tag") if len(told) % 2 == 0 else ("assistant_tag", "function_tag")
        names = " or ".join(repr(tags[name]) for name in expected)
        raise row.fault(f"turn {len(told) + 1} is by {role!r}, where {names} must come.")
    if role == tags["observation_tag"]:
        return result(text, told[-1] if told else None)
    return Message("user" if asks else "assistant", text)


def _answer(row: Row, item: Any, name: str, tags: Mapping[str, str]) -> str:
    if not isinstance(item, dict):
        raise row.fault(f"{name} must be a message with {tags['role_tag']} and {tags['content_tag']}.")
    role, text = _turn(row, item, tags)
    if role not in (tags["assistant_tag"], tags["function_tag"]):
        raise row.fault(f"{name} is by {role!r}, not by {tags['assistant_tag']!r}.")
    return text


def _item(message: Message, before: Message | None) -> dict[str, str]:
    if message.role == "assistant":
        return _spoken(message.content)
    answer = result_of(message, before)
    return {"from": "human", "value": message.content} if answer is None else {"from": "observation", "value": answer}


def _spoken(text: str) -> dict[str, str]:
    return {"from": "function_call" if calls_of(text) else "gpt", "value": text}
