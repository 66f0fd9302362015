"""Content addresses of messages: a message is known by everything that was said up to it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from app.sessions.normal import normal
from models.scene import Message

ROOT = ""
"""The hash above a first message."""


def step(parent_hash: str, role: str, text: str) -> str:
    """The path hash of a message below `parent_hash`, of its text as `normal` has it."""
    body = "\0".join((parent_hash, role, normal(text)))
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


def said_hash(role: str, text: str) -> str:
    """The hash of a message by itself, wherever it is said: that of one that begins a conversation."""
    return step(ROOT, role, text)


def path_hashes(messages: Iterable[Message], parent_hash: str = ROOT) -> list[str]:
    """The path hash of each message of a conversation that hangs below `parent_hash`."""
    hashes = []
    for message in messages:
        parent_hash = step(parent_hash, message.role, message.content)
        hashes.append(parent_hash)
    return hashes
