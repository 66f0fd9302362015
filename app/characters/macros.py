"""The placeholders that cards and characters use for names."""

from __future__ import annotations

import re

_CHAR = re.compile(r"\{\{\s*char\s*\}\}|<bot>|<char>", re.IGNORECASE)
_USER = re.compile(r"\{\{\s*user\s*\}\}|<user>", re.IGNORECASE)


_ORIGINAL = re.compile(r"\{\{\s*original\s*\}\}", re.IGNORECASE)
_START = re.compile(r"^\s*<START>\s*$", re.IGNORECASE | re.MULTILINE)


def fill_original(text: str, original: str) -> str:
    """Put what `text` replaces in for its first `{{original}}`; the others are empty, so that nothing is told twice."""
    first, *rest = _ORIGINAL.split(text)
    return first + original + "".join(rest) if rest else text


def example_talks(text: str) -> list[str]:
    """The talks of a card's `mes_example`, which `<START>` divides."""
    return [talk.strip() for talk in _START.split(text) if talk.strip()]


def fill_names(text: str, char: str, user: str) -> str:
    """Put names in for `{{char}}`, `{{user}}` and their legacy spellings (Character Card V1-V3), in any case.

    A name that looks like a placeholder is not expanded again.
    """
    parts = _USER.split(text)
    return user.join(_CHAR.sub(lambda _: char, part) for part in parts)
