"""Texts that hold a card: JSON, base64 of JSON, YAML. Bounded in bytes, values and levels."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NoReturn

import yaml

from app.characters.reading import (
    JSON_BYTES,
    JSON_LEVELS,
    JSON_NODES,
    YAML_BYTES,
    YAML_NODES,
    CardError,
    Report,
    check_size,
)
from app.text import clean, clean_json

_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_= \t\r\n\0")


def decode(content: bytes, what: str, report: Report) -> str:
    """Text of UTF-8 or UTF-16, without byte order mark and trailing NULs; broken UTF-8 is repaired."""
    check_size(len(content), JSON_BYTES, what)
    content = content.rstrip(b"\0 \t\r\n") if not content.startswith((b"\xff\xfe", b"\xfe\xff")) else content
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        report.repair(f"{what} was UTF-16")
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report.repair(f"{what} is no UTF-8 at byte {error.start}: what could not be read became U+FFFD")
        return content.decode("utf-8-sig", "replace")


def read_json(content: bytes, what: str, report: Report) -> Any:
    """The value of a JSON text, every string storable.

    Raises:
        CardError: it is no JSON, holds NaN, or is over a limit of bytes, values or levels.
    """
    text = decode(content, what, report)
    nodes = text.count(",") + text.count("[") + text.count("{")
    if nodes > JSON_NODES:
        raise CardError(f"{what} holds about {nodes:,} values; at most {JSON_NODES:,} are read.")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        _check_levels(value, what)
        cleaned = clean_json(value, JSON_LEVELS)
    except RecursionError:
        raise CardError(f"{what} is nested deeper than {JSON_LEVELS} levels.") from None
    except CardError:
        raise
    except ValueError as error:
        raise CardError(f"{what} is no JSON: {error}.") from None
    if cleaned != value:
        report.repair(f"{what} held NUL or lone surrogates: they became U+FFFD")
    return cleaned


def read_packed(content: bytes, what: str, report: Report) -> Any:
    """The JSON value of base64, or of JSON that somebody forgot to encode."""
    if is_plain(content):
        return read_json(content, what, report)
    return read_json(unpack(content, what, JSON_BYTES), what, report)


def is_plain(content: bytes) -> bool:
    """Whether it begins as JSON does, not as base64."""
    return content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def unpack(content: bytes, what: str, limit: int) -> bytes:
    """The bytes of base64, also of its URL alphabet, with white space in it or without its padding."""
    check_size(len(content) * 3 // 4 - 2, limit, what)
    if not _BASE64.issuperset(content):
        raise CardError(f"{what} is neither JSON nor base64.")
    compact = content.translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n\0=")
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except binascii.Error as error:
        raise CardError(f"{what} is broken base64: {error}.") from None


def read_yaml(content: bytes, what: str, report: Report) -> Any:
    """The value of a YAML text, every scalar a string: `name: No` is a name.

    Raises:
        CardError: it is no YAML, refers to itself (`*alias`), or is over a limit.
    """
    check_size(len(content), YAML_BYTES, what)
    text = clean(decode(content, what, report))
    try:
        _check_events(text, what)
        return yaml.load(text, Loader=yaml.CBaseLoader)  # noqa: S506 - builds strings, lists and dicts only
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, CardError):
            raise
        problem = " ".join(str(error).split())[:200]
        raise CardError(f"{what} is no PNG, CHARX, JPEG, WEBP or JSON, and no YAML either: {problem}.") from None


def _check_events(text: str, what: str) -> None:
    """Count before anything is built: aliases can multiply what a short text says without end."""
    level = nodes = 0
    for event in yaml.parse(text, Loader=yaml.CBaseLoader):
        nodes += isinstance(event, yaml.NodeEvent)
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise CardError(f"{what} uses a YAML alias (*{event.anchor}); cards may not.")
        if level > JSON_LEVELS or nodes > YAML_NODES:
            raise CardError(f"{what} is over {JSON_LEVELS} levels deep or {YAML_NODES:,} values long.")


def _check_levels(value: Any, what: str) -> None:
    level = [value]
    for _ in range(JSON_LEVELS):
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inner.extend(node.values())
            elif isinstance(node, list):
                inner.extend(node)
        level = [node for node in inner if isinstance(node, (dict, list))]
        if not level:
            return
    raise CardError(f"{what} is nested deeper than {JSON_LEVELS} levels.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which no JSON has")
