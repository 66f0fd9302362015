"""JavaScript's regular expressions in RE2's spelling (ECMAScript 2024 with Annex B, as front ends run them). Pure.

What RE2 can't run, because it takes more than linear time, is named: lookaround within, backreferences, halves of
surrogate pairs. What is no regular expression in JavaScript is told apart from it.
"""

from __future__ import annotations

import re
import unicodedata

from app.lore.looking import without_looks

SPACE = r"\t-\r \x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}"
_NO_SPACE = (
    r"\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E}"
    r"\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{FEFE}\x{FF00}-\x{10FFFF}"
)
_CLASS_ESCAPES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": SPACE, "S": _NO_SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_QUANTIFIER = re.compile(r"[*+?]|\{(\d+)(?:,(\d*))?\}")
_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_GROUP_NAME = re.compile(r"\?<([^\W\d][\w$]*)>")
_FOLDED_BY_RE2_ALONE = frozenset("\u017f\u212a\u212b\u2126\u00df\u1e9e")


class Invalid(ValueError):
    """JavaScript would refuse it."""


class Beyond(ValueError):
    """JavaScript runs it and RE2 can't."""


def respell(source: str, flags: str) -> str:
    """RE2's spelling of `/source/flags`; the caller sets case folding from the flags. Raises `Invalid`, `Beyond`."""
    if len(set(flags)) != len(flags):
        raise Invalid("a flag is given twice")
    spelled = _Speller(without_looks(source, flags), flags).spell()
    return rf"\A(?:{spelled})" if "y" in flags else spelled


class _Speller:
    """Reads a pattern from left to right. `_atom` tells whether what was read last can be repeated."""

    def __init__(self, source: str, flags: str) -> None:
        self._source, self._at = source, 0
        self._unicode = "u" in flags
        start, end = ("(?m:^)", "(?m:$)") if "m" in flags else (r"\A", r"\z")
        dot = "(?s:.)" if "s" in flags else r"[^\n\r\x{2028}\x{2029}]"
        self._fixed = {"^": start, "$": end, ".": dot, "|": "|", ")": ")"}
        self._fold = "i" in flags
        bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]?", "", source, flags=re.DOTALL)
        self._names = _GROUP_NAME.findall(bare)
        self._groups = len(re.findall(r"\((?!\?)", bare)) + len(self._names)
        if len(set(self._names)) != len(self._names):
            raise Invalid("two groups have the same name")
        self._atom = self._split = False

    def spell(self) -> str:
        pieces: list[str] = []
        depth = 0
        beyond = ""
        while self._at < len(self._source):
            char = self._source[self._at]
            if found := _QUANTIFIER.match(self._source, self._at):
                pieces.append(self._quantifier(found))
                continue
            if char == "(":
                depth += 1
                looked = self._open()
                beyond = beyond or looked
                pieces.append("(?:")
                continue
            if char == ")":
                depth -= 1
                if depth < 0:
                    raise Invalid("a parenthesis is closed that was never opened")
            self._at += 1
            try:
                pieces.append(self._one(char))
            except Beyond as error:
                # Read on: what is invalid further on is searched as plain text.
                beyond = beyond or str(error)
                self._atom, self._split = True, False
        if depth:
            raise Invalid("a parenthesis is not closed")
        if beyond:
            raise Beyond(beyond)
        return "".join(pieces)

    def _one(self, char: str) -> str:
        """An element that is no quantifier and opens no group; its first character has been read."""
        self._split = False
        self._atom = char not in "^$|"
        if fixed := self._fixed.get(char):
            return fixed
        if char == "[":
            return self._bracket()
        if char == "\\":
            return self._escape()
        if char in "{}]" and self._unicode:
            raise Invalid(f"{char} stands alone")
        self._split = ord(char) > 0xFFFF and not self._unicode
        return self._literal(ord(char))

    def _quantifier(self, found: re.Match[str]) -> str:
        if not self._atom:
            raise Invalid("there is nothing to repeat")
        self._atom = False
        if found[1] and found[2] and int(found[1]) > int(found[2]):
            raise Invalid("a repetition's numbers are out of order")
        if self._split:
            raise Beyond("it repeats half a surrogate pair; the flag u would make it whole")
        self._at = found.end()
        lazy = self._source.startswith("?", self._at)
        self._at += lazy
        return found[0] + "?" * lazy

    def _open(self) -> str:
        """Reads the beginning of a group; returns why RE2 can't run it, or nothing."""
        self._atom = False
        rest = self._source[self._at + 1 : self._at + 4]
        self._at += 1
        if not rest.startswith("?"):
            return ""
        if rest.startswith("?:"):
            self._at += 2
            return ""
        for look in ("?=", "?!", "?<=", "?<!"):
            if rest.startswith(look):
                self._at += len(look)
                return f"it looks around, ({look}"
        if not (named := _GROUP_NAME.match(self._source, self._at)):
            raise Invalid("a group begins in no known way")
        self._at = named.end()
        return ""

    def _escape(self) -> str:
        """What a backslash outside brackets begins."""
        if self._at >= len(self._source):
            raise Invalid("it ends with a backslash")
        char = self._source[self._at]
        if char in "bB":
            self._at += 1
            self._atom = False
            return "\\" + char
        if char == "k" and (self._names or self._unicode):
            if not (named := re.compile(r"k<([^>]*)>").match(self._source, self._at)) or named[1] not in self._names:
                raise Invalid("it refers to a group that there is not")
            self._at = named.end()
            raise Beyond(f"it refers back to a group, \\{named[0]}")
        if (number := re.compile(r"[1-9]\d*").match(self._source, self._at)) and int(number[0]) <= self._groups:
            self._at = number.end()
            raise Beyond(f"it refers back to a group, \\{number[0]}")
        kind = self._set_of()
        if kind:
            return f"[{kind}]"
        return self._literal(self._code_of())

    def _set_of(self) -> str:
        """The escape of a set of characters, as it stands in brackets; nothing if it is none."""
        char = self._source[self._at]
        if char in _CLASS_ESCAPES:
            self._at += 1
            return _CLASS_ESCAPES[char]
        if char not in "pP" or not self._unicode:
            return ""
        if not (found := re.compile(r"[pP]\{(?:(\w+)=)?(\w+)\}").match(self._source, self._at)):
            raise Invalid("a property is not named")
        self._at = found.end()
        return f"\\{char}{{{found[2]}}}"

    def _code_of(self) -> int:
        """The character that an escape stands for; the backslash has been read."""
        char = self._source[self._at]
        if char in _CONTROLS:
            self._at += 1
            return _CONTROLS[char]
        if (numbered := self._numbered()) is not None:
            return numbered
        if self._unicode and char not in _SYNTAX:
            raise Invalid(f"\\{char} is no escape")
        if char == "c":
            return 0x5C
        self._at += 1
        return ord(char)

    def _numbered(self) -> int | None:
        """The character of an escape that spells its code, or None."""
        rest = self._source[self._at :]
        octal = r"(0)(?!\d)" if self._unicode else r"([0-3][0-7]{0,2}|[4-7][0-7]?)"
        spellings = [(r"x([0-9a-fA-F]{2})", 16), (r"u([0-9a-fA-F]{4})", 16), (octal, 8)]
        if self._unicode:
            spellings.append((r"u\{0*([0-9a-fA-F]{1,6})\}", 16))
        for pattern, base in spellings:
            if (found := re.match(pattern, rest)) and int(found[1], base) <= 0x10FFFF:
                self._at += found.end()
                return self._paired(int(found[1], base))
        if found := re.match(r"c([a-zA-Z])", rest):
            self._at += 2
            return ord(found[1]) % 32
        return None

    def _paired(self, code: int) -> int:
        """A surrogate with its other half."""
        if 0xD800 <= code < 0xDC00 and (
            found := re.match(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})", self._source[self._at :])
        ):
            self._at += found.end()
            self._split = not self._unicode
            return 0x10000 + ((code - 0xD800) << 10) + int(found[1], 16) - 0xDC00
        return code

    def _bracket(self) -> str:
        """A bracket expression; its first bracket has been read."""
        negated = self._source.startswith("^", self._at)
        self._at += negated
        pieces: list[str] = []
        low: int | None = None
        while not self._source.startswith("]", self._at):
            if self._at >= len(self._source):
                raise Invalid("a bracket is not closed")
            if low is not None and self._ranges():
                self._at += 1
                self._range(pieces, low)
                low = None
                continue
            kind, low = self._in_bracket()
            pieces.append(kind or _code(low or 0))
        self._at += 1
        if not pieces:
            return "(?s:.)" if negated else r"[^\x{0}-\x{10FFFF}]"
        return f"[{'^' * negated}{''.join(pieces)}]"

    def _ranges(self) -> bool:
        return self._source.startswith("-", self._at) and not self._source.startswith("-]", self._at)

    def _range(self, pieces: list[str], low: int) -> None:
        """Ends a range that began with the last piece."""
        if self._at >= len(self._source):
            raise Invalid("a bracket is not closed")
        kind, high = self._in_bracket()
        if high is None:
            if self._unicode:
                raise Invalid("a range ends with a set")
            pieces += ["\\-", kind]
            return
        if high < low:
            raise Invalid("a range's ends are out of order")
        pieces[-1] = f"{_code(low)}-{_code(high)}"

    def _in_bracket(self) -> tuple[str, int | None]:
        """The next element in brackets: a set, or the code of a character."""
        char = self._source[self._at]
        self._at += 1
        code = ord(char)
        if char == "\\":
            if self._at >= len(self._source):
                raise Invalid("a bracket is not closed")
            if self._source[self._at] == "b":
                self._at += 1
                return "", 8
            if self._source[self._at] == "-" and self._unicode:
                self._at += 1
                return "", 0x2D
            if kind := self._set_of():
                return kind, None
            code = self._code_of()
        if 0xD800 <= code < 0xE000 or (code > 0xFFFF and not self._unicode):
            raise Beyond("its brackets hold half a surrogate pair; the flag u would make it whole")
        return "", code

    def _literal(self, code: int) -> str:
        if 0xD800 <= code < 0xE000:
            raise Beyond("it holds half a surrogate pair")
        char = chr(code)
        if self._fold and not self._unicode and char in _FOLDED_BY_RE2_ALONE:
            return f"(?-i:{char})"
        return char if char.isalnum() or (code > 127 and unicodedata.category(char)[0] in "PS") else _code(code)


def _code(code: int) -> str:
    return rf"\x{{{code:X}}}"
