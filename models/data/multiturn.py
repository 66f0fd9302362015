"""Pairs of whole conversations, divided into one pair a turn, each with the chosen history (multi-turn DPO).

TRL, LLaMA-Factory, ms-swift and axolotl compare last replies only; what was rejected earlier would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.data.rows import Row, read_rows
from models.data.talk import Talk
from models.example import Example
from models.scene import Message, Role

ROLES: dict[Any, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}


def turn_pairs(path: Path, character: str = "", persona: str = "") -> Iterator[Example]:
    """Rows of a file of {chosen, rejected}, conversations as messages, with or without a `prompt` before both.

    Turns in which both say the same give no pair, and none is made from where the user no longer says the same. The
    pairs of a conversation are a group. Raises BadRow.
    """
    for number, row in enumerate(read_rows(path), 1):
        begun = _messages(row, "prompt") if row.fields.get("prompt") is not None else []
        chosen, rejected = (begun + _messages(row, name) for name in ("chosen", "rejected"))
        system = chosen.pop(0).content if chosen[0].role == "system" else ""
        if rejected and rejected[0].role == "system":
            rejected.pop(0)
        if not chosen or chosen[0].role != "user" or chosen[-1].role != "assistant":
            raise row.fault("a conversation must begin with the user and end with what the assistant says.")
        for place, (good, bad) in enumerate(zip(chosen, rejected, strict=False)):
            if good.role != bad.role or (good.role != "assistant" and good != bad):
                break
            if good != bad:
                talk = Talk(tuple(chosen[:place]), good.content, bad.content, system, learn="reply")
                own = {"id": f"{path.stem}-{number}-{place}", "group": f"{path.stem}-{number}", "source": path.name}
                yield talk.to_example(character, persona, **own)


def _messages(row: Row, name: str) -> list[Message]:
    value = row.fields.get(name)
    if isinstance(value, str):
        return [Message("user" if name == "prompt" else "assistant", row.checked(value, name))]
    told = []
    for place, item in enumerate(row.objects(name)):
        role = ROLES.get(item.get("role", item.get("from")))
        if role is None:
            raise row.fault(f"{name}.{place} has no role that is known; expected user or assistant.")
        told.append(Message(role, row.checked(item.get("content", item.get("value")), f"{name}.{place}")))
    if not told:
        raise row.fault(f"{name} is empty.")
    return told
