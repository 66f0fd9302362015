"""Lookaround at the ends of a JavaScript expression, written without it. Pure.

Whether an expression matches somewhere is all that a key asks, so a look ahead at its end may as well be read, and so
may a look behind at its beginning: `tower(?= of)` is found where `tower of` is. What must not follow is spelled letter
by letter: `cat(?!al)` is found where `cat(?:$|[^a]|a(?:$|[^l]))` is. RE2 runs these in linear time.
"""

from __future__ import annotations

import re

_BEHIND = re.compile(r"\(\?<([=!])((?:\\.|\[(?:\\.|[^\]\\])*\]|[^()\\\[])*)\)", re.DOTALL)
_AHEAD = re.compile(r"\(\?([=!])((?:\\.|\[(?:\\.|[^\]\\])*\]|[^()\\\[])*)\)", re.DOTALL)
_ONE = re.compile(r"\\[wWdDsS]|\[\^?(?:\\.|[^\]\\])+\]|\\[^\w]|[^\\^$.*+?()\[\]{}|]", re.DOTALL)
_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|[()|]", re.DOTALL)


def without_looks(source: str, flags: str) -> str:
    """The same without lookaround at its ends, or the source itself where that can't be said."""
    if "m" in flags or "y" in flags or "(?" not in source or _has_choice(source):
        return source
    if found := _BEHIND.match(source):
        before = _behind(found[1] == "=", found[2])
        source = source if before is None else before + source[found.end() :]
    ends = [found for found in _AHEAD.finditer(source) if found.end() == len(source)]
    if ends:
        after = _ahead(ends[0][1] == "=", ends[0][2])
        source = source if after is None else source[: ends[0].start()] + after
    return source


def _has_choice(source: str) -> bool:
    """Whether there is an alternative outside all groups: then its ends are those of one alternative only."""
    depth = 0
    for piece in _PIECE.findall(source):
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and depth <= 0:
            return True
    return False


def _ahead(wanted: bool, look: str) -> str | None:
    if wanted:
        return f"(?:{look})"
    letters = _letters(look)
    if not letters:
        return None
    spelled = ""
    for letter in reversed(letters):
        spelled = f"(?:$|{_but(letter)}{f'|{letter}{spelled}' if spelled else ''})"
    return spelled


def _behind(wanted: bool, look: str) -> str | None:
    if wanted:
        return f"(?:{look})"
    letters = _letters(look)
    if not letters:
        return None
    spelled = ""
    for letter in letters:
        spelled = f"(?:^|{_but(letter)}{f'|{spelled}{letter}' if spelled else ''})"
    return spelled


def _letters(look: str) -> list[str]:
    """The letters and sets that a look consists of; none when there is more to it."""
    letters = _ONE.findall(look)
    return letters if "".join(letters) == look else []


def _but(letter: str) -> str:
    """Any letter but this, or but those of this set."""
    if letter.startswith("\\") and letter[1].isalpha():
        return "\\" + letter[1].swapcase()
    if letter.startswith("[^"):
        return f"[{letter[2:]}"
    return f"[^{letter[1:]}" if letter.startswith("[") else f"[^{letter}]"
