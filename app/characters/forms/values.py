"""Values of fields as their specifications have them, made of whatever is there."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from app.characters.reading import Json, Report

_TAVERN_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2}) ?@(\d{1,2})h ?(\d{1,2})m ?(\d{1,2})s.{0,10}")


def text_of(value: Any, name: str, report: Report) -> str:
    """A text; null is empty, lists are lines, and anything else is written as JSON."""
    if isinstance(value, str):
        return value
    report.repair(f"{name} was {_kind(value)}, not a text")
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)


def texts_of(value: Any, name: str, report: Report, *, split: str = "") -> list[str]:
    """A list of texts; a lone text is one, or several divided by `split`."""
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            report.repair(f"{name} held something that is no text")
        return [item if isinstance(item, str) else text_of(item, name, Report()) for item in value if item is not None]
    report.repair(f"{name} was {_kind(value)}, not a list")
    if isinstance(value, dict):
        return texts_of(list(value.values()), name, Report())
    if value is None or value == "":
        return []
    text = text_of(value, name, Report())
    return [part.strip() for part in text.split(split) if part.strip()] if split else [text]


def object_of(value: Any, name: str, report: Report) -> Json:
    """An object; anything else is an empty one."""
    if isinstance(value, dict):
        return value
    report.repair(f"{name} was {_kind(value)}, not an object")
    return {}


def flag_of(value: Any, name: str, report: Report) -> bool:
    """True or false, of the ways in which people write them."""
    if isinstance(value, bool):
        return value
    report.repair(f"{name} was {_kind(value)}, not true or false")
    return value.strip().lower() not in ("", "0", "false", "no", "off") if isinstance(value, str) else bool(value)


def number_of(value: Any, default: int, name: str, report: Report) -> int | float:
    """A finite number, also of a text; else `default`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    report.repair(f"{name} was {_kind(value)}, not a number")
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return default
    return int(number) if number.is_integer() else number


def whole_within(value: Any, most: int, default: int) -> int:
    """A whole number from 0 to `most`; `default` for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return max(0, min(most, int(value)))


def moment_of(value: Any, name: str, report: Report) -> int | float:
    """Seconds since 1970 in UTC, also of SillyTavern's `2023-5-12 @21h 32m 29s 228ms`; else 0, which is unknown."""
    if isinstance(value, str) and (found := _TAVERN_DATE.fullmatch(value.strip())):
        report.repair(f"{name} was a text, not a number")
        try:
            return int(datetime(*map(int, found.groups()), tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]
        except ValueError:
            return 0
    return number_of(value, 0, name, report)


def _kind(value: Any) -> str:
    kinds = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
    }
    return kinds.get(type(value), "an object")
