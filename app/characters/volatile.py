"""Which parts of a character's texts read differently from turn to turn: they must not stand in the stable prefix.

A text may hold placeholders whose value changes: the time, a die, the last message. A line with one of them is told
late, among what holds now; the rest stays where every turn has it, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

VOLATILE = re.compile(
    r"\{\{\s*(?:time|date|weekday|isotime|isodate|datetimeformat|time_utc[+-]?\d*|idle_duration|random|roll|"
    r"last\w*message\w*|lastswipeid|currentswipeid|firstincludedmessageid|input|"
    r"(?:get|set|add|inc|dec)(?:global)?var)(?:\s|:|\}\})",
    re.IGNORECASE,
)
"""Placeholders of SillyTavern's and of Character Card V3 that change; `{{pick}}` is the same for a whole chat."""


def apart(text: str) -> tuple[str, str]:
    """The lines that are the same every turn, and those that are not; both in their order."""
    lines = list(_lines(text))
    told = ("\n".join(line for line in lines if bool(VOLATILE.search(line)) is changes) for changes in (False, True))
    stable, passing = told
    return stable, passing


def _lines(text: str) -> Iterator[str]:
    """The lines of `text`; those that a placeholder goes over are one."""
    line = ""
    for part in text.split("\n"):
        line = f"{line}\n{part}" if line else part
        if line.count("{{") <= line.count("}}"):
            yield line
            line = ""
    if line:
        yield line
