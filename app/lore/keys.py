"""Keys of entries, made ready to be looked for: plain words, whole words, JavaScript's regular expressions."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import re2

from app.lore.javascript import Beyond, Invalid, respell
from app.lore.quirks import Quirk

MAX_PATTERN_CHARS = 1000
MAX_PATTERN_BYTES = 2**17  # memory of one compiled pattern
SPACES = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What JavaScript trims and splits at."""
_HAS_SPACE = re.compile(f"[{SPACES}]")
_SPELLED = re.compile(r"/(.+?)/([gimsuy]*)", re.DOTALL)
_DELIMITED = re.compile(r"/.*/[a-z]*", re.DOTALL | re.IGNORECASE)
_BARE_SLASH = re.compile(r"(?:^|[^\\])/")
_MACRO = re.compile(r"\{\{|<(?:user|bot|char)>", re.IGNORECASE)
_NO_WORDS = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")
_ASCII_WORD = re.compile(r"\w", re.ASCII)

Kind = Literal["plain", "regex", "always", "never"]
Bound = Literal["", "ascii", "word"]


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is looked for: `text` is folded if case does not matter, or RE2's spelling of a regular expression.

    `bound`: a whole word, by which idea of a word. `fault` is a sentence on a key that can't run as it is written.
    """

    written: str
    kind: Kind
    text: str = ""
    flags: str = ""
    fold: bool = False
    bound: Bound = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How an entry's keys are read: case, whole words, and by which rules."""

    fold: bool
    whole: bool
    quirks: frozenset[Quirk]


def trim(text: str) -> str:
    """Without white space at its ends, by JavaScript's idea of it."""
    return text.strip(SPACES)


def moves(key: str) -> bool:
    """Whether a key depends on who speaks."""
    return _MACRO.search(key) is not None


@functools.lru_cache(maxsize=8192)
def read_key(written: str, reading: Reading) -> Key:
    """A key whose macros have been filled. Never raises."""
    text = trim(written)
    if not written or (not text and "whitespace_key_always_matches" not in reading.quirks):
        return Key(written, "never")
    if not text:
        return Key(written, "always")
    fault = ""
    if _DELIMITED.fullmatch(text):
        key = _regex(written, text)
        if key is not None:
            return key
        fault = "is no regular expression"
        if "invalid_regex_is_plain_text" not in reading.quirks:
            return Key(written, "never", fault=f"never matches: it {fault}")
        fault += ", and is searched as plain text"
    return Key(written, "plain", text.lower() if reading.fold else text, "", reading.fold, _bound(text, reading), fault)


def _regex(written: str, text: str) -> Key | None:
    """A regular expression; None when JavaScript would refuse it."""
    spelled = _SPELLED.fullmatch(text)
    if not spelled or _BARE_SLASH.search(spelled[1]):
        return None
    source, flags = spelled[1], spelled[2]
    if len(source) > MAX_PATTERN_CHARS:
        return Key(written, "never", fault=f"never matches: it is longer than {MAX_PATTERN_CHARS} characters")
    try:
        return Key(written, "regex", respell(source, flags), flags)
    except Beyond as error:
        return Key(written, "never", fault=f"never matches: RE2 can't run it, {error}")
    except Invalid:
        return None


def _bound(text: str, reading: Reading) -> Bound:
    if not reading.whole or _HAS_SPACE.search(text):
        return ""
    if "whole_word_is_ascii" in reading.quirks:
        return "ascii"
    return "" if _NO_WORDS.search(text) else "word"


def is_bounded(text: str, start: int, end: int, bound: Bound) -> bool:
    """Whether no word goes on at either end."""
    if not bound:
        return True
    word = _ASCII_WORD.match if bound == "ascii" else _goes_on
    return not (start > 0 and word(text[start - 1])) and not (end < len(text) and word(text[end]))


def _goes_on(char: str) -> bool:
    return (char.isalnum() or char == "_") and not _NO_WORDS.match(char)


def find_plain(key: Key, text: str) -> int:
    """Where a plain key begins in a text that is folded as the key is, or -1."""
    at = text.find(key.text)
    while at >= 0 and not is_bounded(text, at, at + len(key.text), key.bound):
        at = text.find(key.text, at + 1)
    return at


def options_for(key: Key, memory: int) -> Any:
    """RE2's options for a regular expression."""
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = memory, False, True
    options.case_sensitive = "i" not in key.flags
    return options


@functools.lru_cache(maxsize=256)
def compile_alone(key: Key) -> tuple[Any, str]:
    """The program of an expression that names the speakers, or why there is none."""
    return compiled(key, MAX_PATTERN_BYTES)


def compiled(key: Key, memory: int) -> tuple[Any, str]:
    """The program of a regular expression, or why there is none."""
    try:
        return re2.compile(key.text.encode(), options_for(key, memory)), ""
    except re2.error as error:
        return None, beyond(error)


def compiling(key: Key) -> int:
    """What compiling an expression takes, in steps of about a nanosecond, by what is dear: sets of Unicode."""
    sets = key.text.count("\\p{") + key.text.count("\\P{")
    return 50_000 + 500 * len(key.text) + sets * (600_000 if "i" in key.flags else 60_000)


def beyond(error: Exception) -> str:
    """Why RE2 refused an expression that JavaScript would run."""
    why = error.args[0] if error.args else ""
    return f"never matches: RE2 can't run it, {why.decode('utf-8', 'replace') if isinstance(why, bytes) else why}"


Fill = Callable[[str], str]
