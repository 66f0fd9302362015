"""Macros in the texts of cards and characters: Character Card V3's, SillyTavern's common ones, and the legacy names.

Pure: clock and chance are given. What a macro gives is never read for macros again, so names and values that look like
one do nothing, and nothing nests without end. A macro that isn't known stays as it is written. Macros within a macro
come first. `docs/macros.md` lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.characters import chance, clock
from models.scene import Language

DEPTH = 20
"""Macros within macros; what lies deeper stays as it is written."""
MOST = 120_000
"""Characters that the macros of a text may give together; the rest of them give nothing."""
OPEN, CLOSE = "{{", "}}"
LONGEST_VALUE = 10_000
MOST_VALUES = 200

_TOKEN = re.compile(r"(\{\{(?!\{)|\}\}|<(?:user|bot|char|group|charifnotgroup)>)", re.IGNORECASE)
_LEGACY = {"<user>": "user", "<bot>": "char", "<char>": "char", "<group>": "group", "<charifnotgroup>": "group"}
_CALL = re.compile(r"\s*([a-z_]+(?:[+-]\d{1,2})?)\s*(?:(::?|\s)(.*))?", re.IGNORECASE | re.DOTALL)
_NAMES = {
    **dict.fromkeys(("char", "bot", "group", "groupnotmuted", "charifnotgroup"), "char"),
    **dict.fromkeys(("user", "notchar"), "user"),
}
"""Whose name a macro gives; in a group some have texts of their own."""
# Colons and commas in what a macro gave do not part the arguments of the macro around it.
_GUARD = str.maketrans({":": "\ue0f0", ",": "\ue0f1"})
_BARE = str.maketrans({"\ue0f0": ":", "\ue0f1": ","})
_TRIM = "\ue0f2"


@dataclass(slots=True)
class Values:
    """Variables, as far as the texts of one prompt have set them; global ones have a name of their own."""

    held: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: str) -> None:
        """Set a variable, unless there are too many; a value that is too long is cut."""
        if name in self.held or len(self.held) < MOST_VALUES:
            self.held[name] = value[:LONGEST_VALUE]

    def add(self, name: str, value: str) -> None:
        """Add a number to a number, or else text to text."""
        before = self.held.get(name, "")
        numbers = _number(before or "0"), _number(value)
        if numbers[0] is not None and numbers[1] is not None:
            self.put(name, f"{numbers[0] + numbers[1]:g}")
        else:
            self.put(name, before + value)


@dataclass(frozen=True, slots=True)
class Moment:
    """What macros depend on.

    `chat` is the same all through a conversation, `turn` differs with every turn: picks and chances hang on them.
    `idle` is how long the user was away. `texts` are other texts by the macros that stand for them, in lower case;
    `late_texts` those that change from turn to turn. With `steady` nothing does, so that a prompt's cached beginning
    stays: chance hangs on the chat, and the clock is told to the hour.
    """

    char: str
    user: str
    language: Language = "en"
    chat: str = ""
    turn: str = ""
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    idle: timedelta | None = None
    original: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    late_texts: Mapping[str, str] = field(default_factory=dict)
    values: Values = field(default_factory=Values)
    steady: bool = False

    def held(self) -> Moment:
        """The same for texts that stand in a prompt's cached beginning."""
        return replace(self, steady=True, now=self.now.replace(minute=0, second=0, microsecond=0))


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
    """Put names in for `{{char}}`, `{{user}}` and their legacy spellings, in any case; all else stays.

    A name that looks like a placeholder is not expanded again.
    """
    names = {"char": char, "user": user}
    return _walk(text, lambda name, rest, _place: names.get(_NAMES.get(name, name)) if not rest else None)


def fill(text: str, moment: Moment, place: str = "") -> str:
    """`text` with its macros filled in. `place` says which text it is: picks differ from place to place."""
    if "{{" not in text and "<" not in text:
        return text
    left = MOST

    def meaning(name: str, rest: str, number: int) -> str | None:
        nonlocal left
        value = _meaning(name, rest, moment, f"{place}\0{number}")
        if value is None:
            return None
        value = value[:left]
        left -= len(value)
        return value

    return re.sub(f"\\n*{_TRIM}\\n*", "", _walk(text, meaning))


def _walk(text: str, meaning: Callable[[str, str, int], str | None]) -> str:
    """Replace macros from the innermost out, in one pass; `meaning` gets a name, its arguments and its number."""
    frames: list[list[str]] = [[]]
    number = too_deep = 0
    for part in _TOKEN.split(text):
        if part == OPEN and len(frames) <= DEPTH:
            frames.append([])
        elif part == CLOSE and len(frames) > 1 and not too_deep:
            inner = "".join(frames.pop())
            number += 1
            value = _called(inner, number, meaning)
            frames[-1].append(f"{OPEN}{inner}{CLOSE}" if value is None else _guarded(value, frames))
        elif (legacy := _LEGACY.get(part.lower())) and (value := meaning(legacy, "", number)) is not None:
            frames[-1].append(_guarded(value, frames))
        else:
            too_deep += (part == OPEN) - (part == CLOSE and too_deep > 0)
            frames[-1].append(part)
    return OPEN.join("".join(frame) for frame in frames).translate(_BARE)


def _called(inner: str, number: int, meaning: Callable[[str, str, int], str | None]) -> str | None:
    if inner.lstrip().startswith("//"):
        return meaning("//", "", number)
    found = _CALL.fullmatch(inner)
    if not found:
        return None
    rest = (found[2] or "") + (found[3] or "")
    return meaning(found[1].lower(), rest if rest.strip() else "", number)


def _guarded(value: str, frames: list[list[str]]) -> str:
    return value.translate(_GUARD) if len(frames) > 1 else value


def _meaning(name: str, rest: str, moment: Moment, place: str) -> str | None:
    """What a macro stands for; None for one that isn't known or has arguments that it can't have."""
    argument = rest.lstrip(":").lstrip() if rest[:1] == ":" else rest.strip()
    plain = argument.translate(_BARE)
    if name in ("//", "comment", "hidden_key", "noop"):
        return ""
    if name in moment.texts or name in moment.late_texts:
        late = "" if moment.steady else moment.late_texts.get(name, "")
        return None if rest else moment.texts.get(name, late)
    if name in _NAMES:
        return None if rest else (moment.char if _NAMES[name] == "char" else moment.user)
    seed = moment.chat if moment.steady else moment.turn
    simple: dict[str, Callable[[], str | None]] = {
        "original": lambda: moment.original,
        "newline": lambda: "\n" * _count(plain),
        "space": lambda: " " * _count(plain),
        "trim": lambda: _TRIM,
        "reverse": lambda: plain[::-1],
        "random": lambda: chance.choose(_options(rest), f"{seed}\0{place}"),
        "pick": lambda: chance.choose(_options(rest), f"{moment.chat}\0{place}"),
        "roll": lambda: chance.roll(plain, f"{seed}\0{place}"),
        "idle_duration": lambda: clock.away(moment.idle, moment.language, coarse=moment.steady),
        "idleduration": lambda: clock.away(moment.idle, moment.language, coarse=moment.steady),
    }
    if name in simple:
        return simple[name]()
    told = clock.tell(name, plain, moment.now, moment.language)
    return told if told is not None else _variable(name, rest, moment.values)


def _variable(name: str, rest: str, values: Values) -> str | None:
    kind = re.fullmatch(r"(set|get|add|inc|dec|has|flush|delete)(global)?var", name)
    if not kind or not rest:
        return None
    first, _, value = rest.lstrip(":").partition("::")
    key = (kind[2] or "") + "\0" + first.strip().translate(_BARE)
    value = value.translate(_BARE)
    if kind[1] == "set":
        values.put(key, value)
    elif kind[1] == "add":
        values.add(key, value)
    elif kind[1] in ("inc", "dec"):
        values.add(key, "1" if kind[1] == "inc" else "-1")
        return values.held.get(key, "")
    elif kind[1] == "get":
        return values.held.get(key, "")
    elif kind[1] == "has":
        return "true" if key in values.held else "false"
    else:
        values.held.pop(key, None)
    return ""


def _options(rest: str) -> list[str]:
    """The choices of `:A,B` with `\\,` for a comma, or of `::A::B`."""
    if rest.startswith("::"):
        parts = rest[2:].split("::")
    else:
        parts = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", rest.lstrip(":"))]
    return [part.strip().translate(_BARE) for part in parts]


def _count(text: str) -> int:
    return min(int(text), 20) if text.isdecimal() else 1


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*-?\d{1,15}(\.\d{1,10})?\s*", text, re.ASCII) else None
