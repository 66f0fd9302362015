"""The placeholders that cards and characters use for names."""

from __future__ import annotations

import re

_CHAR = re.compile(r"\{\{\s*char\s*\}\}|<bot>|<char>", re.IGNORECASE)
_USER = re.compile(r"\{\{\s*user\s*\}\}|<user>", re.IGNORECASE)


def fill_names(text: str, char: str, user: str) -> str:
    """Put names in for `{{char}}`, `{{user}}` and their legacy spellings (Character Card V1-V3), in any case.

    A name that looks like a placeholder is not expanded again.
    """
    parts = _USER.split(text)
    return user.join(_CHAR.sub(lambda _: char, part) for part in parts)
