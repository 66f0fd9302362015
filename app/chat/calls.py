"""Calls of tools in a request's messages. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.chat.protocol import ChatMessage
from models.scene import Message
from models.tools import Call, Calling, Result


def to_engine(message: ChatMessage) -> Message:
    """A message as engines take it."""
    if message.role in ("tool", "function"):
        return Result("tool", message.text, message.tool_call_id or message.name or "")
    if message.role == "assistant" and message.tool_calls:
        calls = tuple(Call(call.id, call.function.name, call.function.arguments) for call in message.tool_calls)
        return Calling("assistant", message.text, calls)
    if message.role in ("system", "developer"):
        return Message("system", message.text)
    return Message("assistant" if message.role == "assistant" else "user", message.text)


def is_talk(message: ChatMessage) -> bool:
    """Whether a message is something that was said, and not a call, its result, or an instruction."""
    return message.role == "user" or (message.role == "assistant" and not message.tool_calls)


def exchange_under_way(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The calls since the user's last message, and their results: what an answer to it is still waiting for.

    Earlier calls are done with; what the character made of them is in what it said.
    """
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)
    later = messages[last + 1 :]
    if not any(message.tool_calls for message in later):
        return ()
    return tuple(to_engine(m) for m in later if m.tool_calls or m.role in ("tool", "function"))
