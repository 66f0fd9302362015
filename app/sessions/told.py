"""The ways in which one conversation may be told by a client. Pure.

Which messages a conversation has depends on the client: one sends the greeting that it showed, another leaves it out, a
third writes names before what is said. What is stored may have been told in another way than what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.characters.macros import fill_names
from app.sessions.normal import normal
from models.scene import Message

NAME = re.compile(r"\s*([^\s:：][^\n:：]{0,39})[:：]\s*(?=\S)")
"""A speaker's name before what is said, as SillyTavern writes it with names in the content of messages."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Who talks, and with what of `greetings`, macros in them, a conversation may have begun."""

    character: str
    user: str
    greetings: tuple[str, ...] = ()


def tellings(messages: Sequence[Message], opening: Opening) -> list[tuple[Message, ...]]:
    """Ways to tell `messages`, the plainest first: without names; as sent; with and without the greeting."""
    plain = without_names(messages, opening.character, opening.user)
    ways = [plain, tuple(messages)]
    greetings = dict.fromkeys(fill_names(text, opening.character, opening.user) for text in opening.greetings)
    begun = [Message("assistant", greeting) for greeting in greetings if greeting.strip()]
    if not plain or plain[0].role == "user":
        ways += [(greeting, *plain) for greeting in begun]
    elif _is_greeting(plain[0].content, opening):
        ways += [(greeting, *plain[1:]) for greeting in begun]
        ways.append(plain[1:])
    return list(dict.fromkeys(ways))


def without_names(messages: Sequence[Message], character: str, user: str) -> tuple[Message, ...]:
    """Without the speakers' names that a front end writes before what is said.

    The character's is known, and so is `user`. Another one is taken for a name only where all that the user said begins
    with it, and all that the character said with the character's: so no sentence loses its first word.
    """
    said = [message for message in messages if message.role == "assistant"]
    names = {found[1] for m in messages if m.role == "user" for found in [NAME.match(m.content)] if found}
    named = len(names) == 1 and all(NAME.match(m.content) for m in messages if m.role == "user")
    labelled = bool(said) and all(_names(message.content, character) for message in said)
    speaker = next(iter(names)) if named and labelled else user
    names_of = {"assistant": character, "user": speaker}
    return tuple(replace(m, content=without_name(m.content, names_of.get(m.role, ""))) for m in messages)


def without_name(text: str, name: str) -> str:
    """`text` without `name` and a colon before it."""
    found = NAME.match(text)
    return text[found.end() :] if found and name and found[1].strip() == name else text


def _names(text: str, name: str) -> bool:
    found = NAME.match(text)
    return bool(found) and found is not None and found[1].strip() == name


def _is_greeting(text: str, opening: Opening) -> bool:
    """Whether a text is one of the greetings, whatever the user is called in it."""
    blank = "\ue000"
    said = normal(text)
    return any(
        _fits(said, normal(fill_names(greeting, opening.character, blank)).split(blank))
        for greeting in opening.greetings
        if greeting.strip()
    )


def _fits(text: str, parts: Sequence[str]) -> bool:
    """Whether a text is the parts in their order, with anything between them; in linear time, as cards are hostile."""
    first, *middle = parts
    if not middle:
        return text == first
    *middle, last = middle
    if not text.startswith(first):
        return False
    place = len(first)
    for part in middle:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return text.endswith(last) and len(text) - len(last) >= place
