"""Alpaca rows, as LLaMA-Factory reads them: instruction, input, output, system, history; pairs, and KTO's tag.

The user says instruction and input, a line each. Assistants' turns in `history` are learnt from too, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from models.data.rows import Row
from models.data.talk import Talk
from models.scene import Message

As = Literal["sft", "preference", "kto"]

COLUMNS: Mapping[str, str] = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "system": "system",
    "history": "history",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "kto_tag",
}
"""LLaMA-Factory's names of columns, and what they are called where `dataset_info.json` says nothing."""


def read(row: Row, columns: Mapping[str, str] = COLUMNS) -> Talk:
    """The talk of a row. Raises BadRow."""
    asked = [row.text(columns[name], empty=True) for name in ("prompt", "query")]
    said = "\n".join(part for part in asked if part.strip())
    if not said:
        raise row.fault(f"{columns['prompt']} is empty; the user says nothing.")
    history = [message for pair in row.items(columns["history"]) for message in _pair(row, pair)]
    reply, rejected = answers(row, columns)
    return Talk(
        (*history, Message("user", said)),
        reply,
        rejected,
        row.text(columns["system"], empty=True),
        learn="reply" if reply and rejected else "talk",
    )


def write(talk: Talk, form: As) -> dict[str, Any]:
    """The row of a talk, with what is empty left out but for `input`."""
    told = talk.by_turns()
    *before, last = told.history
    row: dict[str, Any] = {"instruction": last.content, "input": ""}
    row |= answered(talk, form, "output")
    if told.rules:
        row["system"] = told.rules
    if before:
        row["history"] = [[before[n].content, before[n + 1].content] for n in range(0, len(before), 2)]
    return row


def answers(row: Row, columns: Mapping[str, str]) -> tuple[str, str]:
    """What is to be said, and what rather not, one of which may be empty: of a pair, a KTO row, or a plain one."""
    tag = row.fields.get(columns["kto_tag"])
    output = row.fields.get(columns["response"])
    if tag is not None:
        if not isinstance(tag, bool):
            raise row.fault(f"{columns['kto_tag']} must be true or false.")
        said = row.text(columns["response"])
        return (said, "") if tag else ("", said)
    if isinstance(output, list):  # the older form of pairs
        if len(output) != 2:
            raise row.fault(f"{columns['response']} must be a text, or the chosen and the rejected one.")
        return row.checked(output[0], "the chosen reply"), row.checked(output[1], "the rejected reply")
    if row.fields.get(columns["chosen"]) is not None or row.fields.get(columns["rejected"]) is not None:
        return row.text(columns["chosen"]), row.text(columns["rejected"])
    return row.text(columns["response"]), ""


def answered(talk: Talk, form: As, name: str) -> dict[str, Any]:
    """The fields that hold the reply in a form; a plain one is called `name`."""
    if form == "preference":
        return {"chosen": talk.reply, "rejected": talk.rejected}
    if form == "kto":
        return {name: talk.reply or talk.rejected, "kto_tag": bool(talk.reply)}
    return {name: talk.reply}


def _pair(row: Row, pair: Any) -> tuple[Message, Message]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise row.fault("history must be a list of [user, assistant] pairs.")
    return Message("user", row.checked(pair[0], "history")), Message("assistant", row.checked(pair[1], "history"))
