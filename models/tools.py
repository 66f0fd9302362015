"""Calls of functions in a conversation."""

from __future__ import annotations

from dataclasses import dataclass

from models.scene import Message


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
