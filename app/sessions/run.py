"""Find a conversation by its middle: messages one after another, wherever in a tree they stand. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.scene import Message

ALONE = 3
"""As many messages in a row, one of them the character's, are no coincidence."""
LONG = 40
"""A reply of as many characters, with what it answers, is none either."""


@dataclass(frozen=True, slots=True)
class Said:
    """A stored message, by the hash of what it says."""

    id: str
    parent_id: str | None
    session_id: str
    depth: int
    said_hash: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """Messages `start` to `end` of what was sent, found above `leaf`."""

    start: int
    end: int
    leaf: Said


def longest_run(
    hashes: Sequence[str], stored: Collection[Said], start: int, within: str | None = None, *, deeper: bool = True
) -> Run | None:
    """The longest run of stored messages, each below the one before it, that say what was sent from `start` on.

    Only one whose first message stands deeper than `start` is looked for, else nothing was left out before it; or, with
    `deeper` off, just as deep. `within` names the session; among equals the newest wins.
    """

    def may_begin(message: Said) -> bool:
        return message.depth > start if deeper else message.depth == start

    by_hash: dict[str, list[Said]] = defaultdict(list)
    for message in stored:
        if within is None or message.session_id == within:
            by_hash[message.said_hash].append(message)
    found: list[Said] = []
    end = start
    for said_hash in hashes[start:]:
        above = {message.id for message in found}
        below = [m for m in by_hash[said_hash] if (m.parent_id in above if end > start else may_begin(m))]
        if not below:
            break
        found, end = below, end + 1
    return Run(start, end, _newest(found)) if found else None


def is_certain(messages: Iterable[Message]) -> bool:
    """Whether a run of these messages can only be of one conversation."""
    messages = list(messages)
    replies = [message.content for message in messages if message.role == "assistant"]
    return bool(replies) and len(messages) > 1 and (len(messages) >= ALONE or max(map(len, replies)) >= LONG)


def _newest(messages: Iterable[Said]) -> Said:
    return max(messages, key=lambda message: (message.created_at, message.id))
