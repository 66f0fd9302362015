"""Entries as the JSON documents that are stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from app.lore.entry import DEFAULTS, FOREVER, CharacterFilter, Entry, Settings

_TUPLES = ("keys", "secondary_keys", "match", "triggers")
_NOT_STORED = ("uid", "book", "digest")


def entry_of(uid: str, document: Mapping[str, Any], book: str = "book") -> Entry:
    """The entry of a stored document; what a document from before lacks is as it was."""
    fields = {**document, **{name: tuple(document.get(name, ())) for name in _TUPLES}}
    if document.get("stages") is not None:
        fields["stages"] = tuple(document["stages"])
    only = document.get("only_for")
    if only:
        fields["only_for"] = CharacterFilter(only["exclude"], tuple(only["names"]), tuple(only["tags"]))
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    return Entry(uid=uid, book=book, digest=digest, **fields)


def document_of(entry: Entry) -> dict[str, Any]:
    """An entry as a document, of which `entry_of` makes the same."""
    fields = {name: value for name, value in asdict(entry).items() if name not in _NOT_STORED}
    stages = None if entry.stages is None else list(entry.stages)
    return fields | {name: list(fields[name]) for name in _TUPLES} | {"extra": dict(entry.extra), "stages": stages}


def fitting(document: dict[str, Any]) -> dict[str, Any]:
    """A document whose numbers are within what is stored; other programs' files hold any."""
    bounds = {"scan_depth": 1000, "depth": 10_000, "delay_until_recursion": 1000, "probability": 100}
    bounds |= {"sticky": FOREVER, "cooldown": FOREVER, "delay": FOREVER, "group_weight": 10**6}
    fitted = {name: min(max(document[name], 0), most) for name, most in bounds.items() if document[name] is not None}
    whole = {name: round(document[name]) for name in ("order", "priority") if document[name] is not None}
    return document | fitted | whole


def read_by(entry: Entry, settings: Settings) -> Entry:
    """An entry that says for itself what its book's settings say, so that books of several settings stand together."""
    if settings == DEFAULTS:
        return entry
    own: dict[str, Any] = {}
    for name in ("scan_depth", "case_sensitive", "whole_words", "group_scoring"):
        if getattr(entry, name) is None and getattr(settings, name) != getattr(DEFAULTS, name):
            own[name] = getattr(settings, name)
    return replace(entry, **own)
