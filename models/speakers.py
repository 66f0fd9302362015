"""Names before what is said: the speaker's own comes off, another's ends the reply. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

USER = ("User", "Human", "You", "{{user}}", "<user>", "用户", "人类")
"""What language models that were trained on logs call whoever they talk with."""
COLONS = (":", "：")
_WRAPS = (
    *(("", ""), ("**", "**"), ("*", "*"), ("__", "__"), ("[", "]"), ("(", ")"), ("<", ">"), ('"', '"')),
    *(("【", "】"), ("［", "］"), ("（", "）"), ("「", "」"), ("“", "”")),
)
_ASIDE = re.compile(r"[(（][^()（）]{0,24}(?:[)）]([:：])?)?")


class Labels:
    """Ways to write one of `names` before what is said: plain, bold, in brackets, either colon, any case."""

    def __init__(self, names: Iterable[str]) -> None:
        plain = {_key(name) for name in names} - {""}
        self._stems = {left + name + right for name in plain for left, right in _WRAPS}
        within = {left + name + colon + left for name in plain for left in ("**", "*", "__") for colon in COLONS}
        self._labels = within | {stem + colon for stem in self._stems for colon in COLONS}

    def look(self, line: str, *, asides: bool = False) -> Literal["yes", "maybe", "no"]:
        """Whether a line that so far is `line` begins with a name; with `asides` also as in `Ana (smiling):`."""
        key = _key(line).lstrip("#")
        if key in self._labels:
            return "yes"
        if any(label.startswith(key) for label in self._labels):
            return "maybe"
        for stem in self._stems if asides else ():
            if key.startswith(stem) and (aside := _ASIDE.fullmatch(key, len(stem))):
                return "yes" if aside[1] else "maybe"
        return "no"


class SpeakerStop:
    """Ends a reply where one of `names` begins a line, as if to speak; a name within a sentence ends nothing.

    Only a beginning of a line that may still become a name is held back, with the white space before it. Where the
    reply is `begun`, it goes on within a line.
    """

    def __init__(self, names: Iterable[str], *, begun: bool = False) -> None:
        self._labels = Labels(names)
        self._held = ""
        self._line: str | None = None if begun else ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """The text that is now certain. Once `stopped`, always empty."""
        certain = ""
        while piece and not self.stopped:
            if self._line is None:
                text, found, piece = piece.partition("\n")
                certain += text
                self._held, self._line = found, "" if found else None
            else:
                certain += self._decide(piece[0])
                piece = piece[1:]
        return certain

    def end(self) -> str:
        """What was held back, once no more text will come."""
        held, self._held = self._held, ""
        return "" if self.stopped else held

    def _decide(self, char: str) -> str:
        assert self._line is not None
        if char == "\n" and self._line.strip():
            line, self._held, self._line = self._held, "\n", ""
            return line
        self._held += char
        self._line = "" if char == "\n" else self._line + char
        verdict = self._labels.look(self._line, asides=True)
        self.stopped = verdict == "yes"
        if verdict == "no":
            line, self._held, self._line = self._held, "", None
            return line
        return ""


def _key(text: str) -> str:
    return "".join(text.split()).lower()
