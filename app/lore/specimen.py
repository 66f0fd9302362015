"""A text that an expression matches, as short as may be: how authors spell what it looks for. Pure."""

from __future__ import annotations

import re

LONGEST = 200
"""Letters, of expressions and of texts; what is longer is no status line."""
_TOKEN = re.compile(
    r"(?P<look>\(\?<?[=!])|(?P<open>\((?:\?(?::|<\w+>))?)|(?P<close>\))|(?P<bar>\|)|(?P<edge>[\^$]|\\[bB])"
    r"|(?P<set>\[\^?(?:\\.|[^\]\\])*\])|(?P<one>\\u[0-9a-fA-F]{4}|\\.|.)",
    re.DOTALL,
)
_TIMES = re.compile(r"(?:([*?+])|\{(\d{1,3})(?:,\d*)?\})\??")
_CLASSES = {"d": "0", "D": " ", "s": " ", "S": "x", "w": "x", "W": " ", "n": "\n", "t": "\t"}


def specimen(source: str) -> str:
    """A text of the first of all choices, each part as seldom as it may be; empty for one that is too long or odd.

    What must stand around it is not looked at: the caller tries the text.
    """
    text, end = _choices(source, 0) if len(source) <= LONGEST else ("", 0)
    return text if end >= len(source) and len(text) <= LONGEST else ""


def _choices(source: str, at: int) -> tuple[str, int]:
    """The text of the first choice of a group that begins here, and where the group ends."""
    texts, first = [""], True
    while found := _TOKEN.match(source, at):
        at = found.end()
        kind, piece = found.lastgroup, ""
        if kind == "close":
            break
        if kind == "bar":
            first = False
        elif kind in ("open", "look"):
            inner, at = _choices(source, at)
            piece = inner if kind == "open" else ""
        elif kind in ("set", "one"):
            piece = _letter(found[0])
        if times := _TIMES.match(source, at):
            at = times.end()
            piece *= min(int(times[2] or 0), LONGEST + 1) if times[2] else int(times[1] == "+")
        if first and len(texts) <= LONGEST:
            texts.append(piece[: LONGEST + 1])
    return "".join(texts), at


def _letter(part: str) -> str:
    """A letter that a part of an expression, a letter or a set, stands for."""
    if part.startswith("[^"):
        return " "
    if part.startswith("["):
        inner = re.match(r"\\u[0-9a-fA-F]{4}|\\.|[^\]]", part[1:], re.DOTALL)
        return _letter(inner[0]) if inner else ""
    if part.startswith("\\u") and len(part) == 6:
        return chr(int(part[2:], 16))
    if part.startswith("\\"):
        return _CLASSES.get(part[1:], part[1:])
    return " " if part == "." else part
