"""World info: which entries of a lorebook speak on this turn, and why the others stay silent.

SillyTavern's semantics (its World Info documentation; behaviour recorded from version 1.12.6) for keys, constants, scan
depth, order and budget, with two deliberate differences: constants come first in the budget, and a key with Chinese,
Japanese or Korean characters is never a whole word. Keys spelled `/pattern/flags` are JavaScript regular expressions,
run by RE2 in linear time: no lookaround, no backreferences. The caller substitutes `{{user}}` and `{{char}}`.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import re2

Logic = Literal["and_any", "not_all", "not_any", "and_all"]

MAX_PATTERN_CHARS = 1000
MAX_PATTERN_BYTES = 2**17  # memory of one compiled pattern
MAX_REGEX_WORK = 10**9  # of one `activate`, in program steps times characters: some seconds at the very worst
_COMPILE_WORK = 5_000  # of one character of a pattern


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a lorebook.

    It speaks when it is `constant`, or when one of `keys` is found and `secondary_keys`, if there are any, agree by
    `logic`. `None` in `scan_depth`, `case_sensitive` and `whole_words` means the book's setting. `order` places it in
    the text (larger is nearer the end); `priority` decides who keeps its place in a short budget, and is `order` when
    None. `ignore_budget`: counted, never dropped.
    """

    uid: str
    content: str
    name: str = ""
    keys: tuple[str, ...] = ()
    secondary_keys: tuple[str, ...] = ()
    logic: Logic = "and_any"
    constant: bool = False
    enabled: bool = True
    order: int = 100
    priority: int | None = None
    scan_depth: int | None = None
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    ignore_budget: bool = False


@dataclass(frozen=True, slots=True)
class BookSettings:
    """How a book is read: `scan_depth` in messages, `budget` in tokens, `whole_words` for keys of one word."""

    scan_depth: int = 4
    case_sensitive: bool = False
    whole_words: bool = False
    budget: int = 1024


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an entry: `key` is the primary key that was found, `message_index` the message it begins in.

    `reason` begins with `constant` or `key` (fired), `disabled`, `no keys`, `no match`, `secondary` or `budget`.
    """

    uid: str
    name: str
    fired: bool
    reason: str
    key: str | None = None
    message_index: int | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """`fired` in the order of the prompt (ascending `order`); `fates` one for each entry, as given."""

    fired: tuple[Entry, ...]
    fates: tuple[Fate, ...]


def activate(
    entries: Sequence[Entry],
    messages: Sequence[tuple[str, str]],
    count: Callable[[str], int],
    settings: BookSettings = BookSettings(),
) -> Activation:
    """Find the entries that speak after `messages`.

    `messages` are (speaker, text), oldest first; keys see `speaker: text`, or the text alone if the speaker is empty.
    `count` gives the tokens of an entry's `content`, nothing else; their sum stays below the budget. Constants fill it
    first, then descending `priority`; the first that does not fit closes it to all that follow. Among entries of equal
    `order` the later one comes first in the text. Raises nothing of its own: the fate tells of a key that can't run.
    """
    chat = _Chat(messages)
    fates = [_judge(entry, chat, settings) for entry in entries]
    hits = [(i, entry) for i, entry in enumerate(entries) if fates[i].fired]
    for i, reason in _over_budget(hits, count, settings.budget).items():
        fates[i] = replace(fates[i], fired=False, reason=reason)
    kept = sorted((entry for entry, fate in zip(entries, fates, strict=True) if fate.fired), key=lambda e: -e.order)
    return Activation(tuple(reversed(kept)), tuple(fates))


def _over_budget(hits: Iterable[tuple[int, Entry]], count: Callable[[str], int], budget: int) -> dict[int, str]:
    """Positions of the entries that the budget refuses, each with the reason."""
    refused: dict[int, str] = {}
    spent, closed_by = 0, ""
    for i, entry in sorted(hits, key=lambda hit: (not hit[1].constant, -_priority(hit[1]))):
        if closed_by and not entry.ignore_budget:
            refused[i] = f"budget: closed by {closed_by}"
            continue
        tokens = count(entry.content)
        if spent + tokens >= budget and not entry.ignore_budget:
            closed_by = repr(entry.name or entry.uid)
            refused[i] = f"budget: {spent + tokens} tokens with its {tokens}, the sum must stay below {budget}"
            continue
        spent += tokens
    return refused


def _priority(entry: Entry) -> int:
    return entry.order if entry.priority is None else entry.priority


def _judge(entry: Entry, chat: _Chat, settings: BookSettings) -> Fate:
    """The fate of an entry before the budget is looked at."""
    fate = Fate(entry.uid, entry.name, fired=False, reason="disabled")
    if not entry.enabled:
        return fate
    if entry.constant:
        return replace(fate, fired=True, reason="constant")
    if not any(entry.keys):
        return replace(fate, reason="no keys")
    search = _Search(chat, entry, settings)
    fired, reason = False, "no match"
    hit = next(((key, index) for key in entry.keys if (index := search.find(key)) is not None), None)
    if hit:
        fate = replace(fate, key=hit[0], message_index=hit[1] if hit[1] >= 0 else None)
        fired = _agree(entry.logic, [search.find(key) is not None for key in entry.secondary_keys])
        reason = "key" if fired else f"secondary: {entry.logic} does not hold"
    return replace(fate, fired=fired, reason=" ".join((reason, *search.faults)))


def _agree(logic: Logic, found: Sequence[bool]) -> bool:
    held = any(found) if logic in ("and_any", "not_any") else all(found)
    return not found or held != logic.startswith("not")


class _Search:
    """Finds keys by an entry's settings, or the book's where it has none. `faults` are sentences on keys that broke."""

    def __init__(self, chat: _Chat, entry: Entry, settings: BookSettings) -> None:
        self.faults: list[str] = []
        self._chat = chat
        self._depth = settings.scan_depth if entry.scan_depth is None else entry.scan_depth
        self._fold = not (settings.case_sensitive if entry.case_sensitive is None else entry.case_sensitive)
        self._whole = settings.whole_words if entry.whole_words is None else entry.whole_words

    def find(self, key: str) -> int | None:
        """Index of the message where `key` begins, -1 when there is no message, None when it is not found.

        An empty key is never found. One of white space only always is: that is SillyTavern's way.
        """
        if not key:
            return None
        key = key.strip()
        regex = self._chat.compile(key)
        if regex.fault:
            self.faults.append(f"({key[:80]} {regex.fault})")
        text = self._chat.read(self._depth, self._fold and regex.literal)
        if not regex.literal:
            return text.message_at(self._chat.search(regex, text.text))
        return text.message_at(_find_plain(key.lower() if self._fold else key, text.text, self._whole))


def _find_plain(key: str, text: str, whole: bool) -> int:
    """Where a plain key begins in the text, or -1."""
    at = text.find(key)
    if at < 0 or not whole or _UNBOUNDED.search(key):
        return at
    word = re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text, re.ASCII)
    return word.start() if word else -1


@dataclass(frozen=True, slots=True)
class _Text:
    """What keys are searched in: message `newest - i` begins at `starts[i]`."""

    text: str
    starts: tuple[int, ...]
    newest: int

    def message_at(self, position: int) -> int | None:
        """Index of the message at a position; None for a negative one, and -1 when there is no message."""
        if position < 0 or not self.starts:
            return None if position < 0 else -1
        return self.newest - bisect_right(self.starts, position) + 1


class _Chat:
    """The messages as keys see them: newest first, each behind a U+0001 that regexes use to find where one begins."""

    def __init__(self, messages: Sequence[tuple[str, str]]) -> None:
        self._messages = messages
        self._texts: dict[tuple[int, bool], _Text] = {}
        self._work = 0

    def read(self, depth: int, fold: bool) -> _Text:
        """The last `depth` messages, lower-cased if `fold`."""
        depth = min(max(depth, 0), len(self._messages))
        if (depth, fold) not in self._texts:
            self._texts[depth, fold] = self._join(depth, fold)
        return self._texts[depth, fold]

    def _join(self, depth: int, fold: bool) -> _Text:
        pieces: list[str] = []
        starts, at = [], 0
        for speaker, text in reversed(self._messages[len(self._messages) - depth :]):
            line = (f"{speaker}: {text}" if speaker else text).strip().strip("\ufeff")
            pieces.append(("\n\x01" if pieces else "\x01") + (line.lower() if fold else line))
            starts.append(at)
            at += len(pieces[-1])
        return _Text("".join(pieces), tuple(starts), len(self._messages) - 1)

    def compile(self, key: str) -> _Regex:
        """The regular expression that a key spells, as long as their work in this chat is within its limit."""
        if not (spelled := _SPELLED.fullmatch(key)):
            return _PLAIN
        self._work += _COMPILE_WORK * len(spelled[1])
        return compile_regex(spelled[1], spelled[2]) if self._work <= MAX_REGEX_WORK else _TOO_MUCH

    def search(self, regex: _Regex, text: str) -> int:
        """Where the first match begins, or -1."""
        if regex.program is None:
            return -1
        self._work += regex.program.programsize * len(text)
        # A lone surrogate has no UTF-8; it becomes "?", one character for one, so that positions stay true.
        match = regex.program.search(text.encode("utf-8", "replace").decode())
        return int(match.start()) if match else -1


@dataclass(frozen=True, slots=True)
class _Regex:
    """A compiled key. Without a `program` it never matches, or is searched as plain text (`literal`)."""

    program: Any = None
    fault: str = ""
    literal: bool = False


@functools.lru_cache(maxsize=1024)
def compile_regex(source: str, flags: str) -> _Regex:
    """Compile a JavaScript regular expression for RE2. Never raises.

    Flags `i`, `m`, `s` and `y` (at the very beginning) work; `g` and `u` change nothing here.
    """
    if len(source) > MAX_PATTERN_CHARS:
        return _Regex(fault=f"never matches: it is longer than {MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = MAX_PATTERN_BYTES, False, True
    options.case_sensitive, options.dot_nl = "i" not in flags, "s" in flags
    spelled = ("(?m)" if "m" in flags else "") + _TOKEN.sub(_respell, source)
    try:
        return _Regex(re2.compile(rf"\A(?:{spelled})" if "y" in flags else spelled, options))
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
    if _BEYOND_RE2.search(why):
        return _Regex(fault=f"never matches: RE2 can't run it, {why}")
    return _Regex(fault=f"is searched as plain text: no regular expression, {why}", literal=True)


def _respell(token: re.Match[str]) -> str:
    """RE2's spelling of an escape or a bracket expression of JavaScript."""
    if token[0].startswith("[") and token[0] not in _CLASSES:
        return "[" + _IN_BRACKETS.sub(_respell_inside, token[0][1:])
    return _CLASSES.get(token[0]) or _respell_inside(token)


def _respell_inside(token: re.Match[str]) -> str:
    text = token[0]
    if text.startswith(r"\u") and len(text) > 2:
        return rf"\x{{{text[2:].strip('{}')}}}"
    return {"[": r"\[", r"\s": _SPACE}.get(text, text.replace("Script=", "").replace("sc=", ""))


_PLAIN = _Regex(literal=True)
_TOO_MUCH = _Regex(fault="was not tried: the regular expressions before it took all the work that a turn allows")
_SPELLED = re.compile(r"/((?:[^/\\]|\\.)+)/((?:([gimsuy])(?!.*\3))*)", re.DOTALL)
_SPACE = r"\s\v\p{Z}\x{FEFF}"
_CLASSES = {"[]": r"[^\x{0}-\x{10FFFF}]", "[^]": r"[\x{0}-\x{10FFFF}]", r"\s": f"[{_SPACE}]", r"\S": f"[^{_SPACE}]"}
_ESCAPE = r"\\u\{[0-9a-fA-F]{1,6}\}|\\u[0-9a-fA-F]{4}|\\p\{(?:Script|sc)=|\\."
_TOKEN = re.compile(rf"\[\^?(?:\\.|[^\]\\])*\]|{_ESCAPE}", re.DOTALL)
_IN_BRACKETS = re.compile(rf"{_ESCAPE}|\[", re.DOTALL)
_BEYOND_RE2 = re.compile(r"operator: \(\?<?[=!]|escape sequence: \\[1-9k]|repetition size|too large|class range")
_UNBOUNDED = re.compile(r"[\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")
