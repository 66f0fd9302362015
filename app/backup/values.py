"""Rows as JSON and back, the same for every database. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import JSON, DateTime, LargeBinary, TypeDecorator
from sqlalchemy.types import TypeEngine

Kind = Literal["plain", "moment", "bytes", "json"]
Kinds = Mapping[str, Kind]


def kind_of(column_type: TypeEngine[Any]) -> Kind:
    """How values of a column are written: as they are, as ISO 8601 in UTC, as base64, or as nested JSON."""
    stored: Any = column_type.impl if isinstance(column_type, TypeDecorator) else column_type
    for family, kind in ((DateTime, "moment"), (LargeBinary, "bytes"), (JSON, "json")):
        if isinstance(stored, family):
            return kind  # type: ignore[return-value]
    return "plain"


def written(row: Mapping[str, Any], kinds: Kinds) -> bytes:
    """A row as one line."""
    told = {name: _to_json(value, kinds[name]) for name, value in row.items()}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def read(line: bytes, kinds: Kinds) -> dict[str, Any]:
    """The row of a line.

    Raises:
        ValueError: it is no row, or has other columns than `kinds`.
    """
    told = json.loads(line.decode("utf-8", "surrogatepass"))
    if not isinstance(told, dict) or told.keys() != kinds.keys():
        raise ValueError("a row has other columns than its table")
    return {name: _from_json(value, kinds[name]) for name, value in told.items()}


def _to_json(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "moment":
        return value.astimezone(UTC).isoformat()
    if kind == "bytes":
        return base64.b64encode(value).decode("ascii")
    return value


def _from_json(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "moment":
        return datetime.fromisoformat(value)
    if kind == "bytes":
        return base64.b64decode(value, validate=True)
    return value
