"""Content addresses of messages: a message is known by everything that was said up to it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from models.scene import Message

ROOT = ""
"""The hash above a first message."""


def step(parent_hash: str, role: str, text: str) -> str:
    """The path hash of a message below `parent_hash`.

    Front ends trim and re-wrap what they send back, so runs of white space count as one space.
    """
    body = "\0".join((parent_hash, role, " ".join(text.split())))
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


def path_hashes(messages: Iterable[Message], parent_hash: str = ROOT) -> list[str]:
    """The path hash of each message of a conversation that hangs below `parent_hash`."""
    hashes = []
    for message in messages:
        parent_hash = step(parent_hash, message.role, message.content)
        hashes.append(parent_hash)
    return hashes
