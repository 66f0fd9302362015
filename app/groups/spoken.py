"""What is said in a group: each message by whom, and how clients are told it and tell it back. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from models.scene import Message


@dataclass(frozen=True, slots=True)
class Spoken(Message):
    """A message of a group: `speaker` is the id of the member who says it, empty for the user."""

    speaker: str = ""


def labelled(name: str, text: str) -> str:
    """A line as clients show it: who says it stands before it, as in SillyTavern's group chats."""
    return f"{name}: {text}"


SEPARATOR = "\n\n"
"""Between the lines of two speakers in one reply."""


def lines_of(text: str, names: Mapping[str, str], nobody: str) -> list[Spoken]:
    """The lines of a reply that a client sends back, by the ids of their speakers; `names` has ids by names.

    A name counts at the beginning of a line, plain or bold, with either colon. Whoever speaks on is not parted from
    himself; what no name stands before is by `nobody`.
    """
    found: list[tuple[str, str]] = []
    last, begin = nobody, 0
    for label in _labels(names).finditer(text) if names else ():
        speaker = names[label[1]]
        if speaker == last:
            if not text[begin : label.start()].strip():
                begin = label.end()
            continue
        found.append((last, text[begin : label.start()]))
        last, begin = speaker, label.end()
    found.append((last, text[begin:]))
    return [Spoken("assistant", said.strip(), speaker) for speaker, said in found if said.strip()]


def _labels(names: Mapping[str, str]) -> re.Pattern[str]:
    choice = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.compile(rf"^[ \t]*(?:\*\*|__)?({choice})(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?[ \t]*", re.MULTILINE)
