"""Books made ready for activation: all plain keys in one automaton, all regular expressions behind one filter.

An index is made once for a revision of a book and used by every turn. Keys that name the speakers differ between
turns; they are read when a turn comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ahocorasick
import re2

from app.lore.decorators import Rules, read_decorators, read_few
from app.lore.entry import Entry, Settings
from app.lore.fate import Fate
from app.lore.keys import MAX_PATTERN_BYTES, Key, Reading, compiled, compiling, moves, options_for, read_key
from app.lore.quirks import Quirk

MAX_KEYS = 50_000
MAX_KEY_CHARS = 1_000_000
MAX_COMPILING = 5 * 10**8  # steps of about a nanosecond
MAX_PROGRAMS_BYTES = 2**26  # memory that the regular expressions of an index may take together
_FILTERED = 250  # expressions behind one filter; it has a bound of its own for all their words
_FEWEST_BYTES = 2**15  # of one of them; with less, matching takes fifty times as long


@dataclass(frozen=True, slots=True)
class Keyed:
    """An entry, what its decorators ask, and its keys; a key that names the speakers is None."""

    entry: Entry
    rules: Rules
    reading: Reading
    keys: tuple[Key | None, ...]
    secondary: tuple[Key | None, ...]

    @property
    def is_special(self) -> bool:
        """Whether more than a key decides about it, so that every pass has to look at it."""
        entry, rules = self.entry, self.rules
        return bool(
            not entry.enabled
            or entry.constant
            or entry.triggers
            or entry.only_for
            or entry.stages
            or entry.delay
            or entry.delay_until_recursion
            or entry.exclude_recursion
            or not entry.keys
            or rules.force
            or rules.after
            or rules.every
            or rules.greeting is not None
            or rules.impossible
            or any(key is None or key.kind == "always" for key in self.keys)
        )


class Index:
    """Entries in the order in which they are tried, with all that can be worked out before a turn."""

    def __init__(self, entries: Sequence[Entry], settings: Settings, quirks: frozenset[Quirk]) -> None:
        self.quirks = quirks
        self._keys_left, self._chars_left = MAX_KEYS, MAX_KEY_CHARS
        self.crowded: set[tuple[str, str]] = set()
        self.items = tuple(self._item(entry, settings, quirks) for entry in entries)
        self.entries = tuple(item.entry for item in self.items)
        self.special = frozenset(i for i, item in enumerate(self.items) if item.is_special)
        self.plain: dict[Key, int] = {}
        self.regexes: dict[Key, int] = {}
        self.faults: dict[Key, str] = {}
        self.owners: dict[Key, list[int]] = {}
        self.mentions: dict[Key, list[int]] = {}
        self.plain_owners: tuple[tuple[int, ...], ...] = ()
        self.words: dict[bool, Any] = {}
        self._gather()
        self.plain_owners = tuple(tuple(self.owners.get(key, ())) for key in self.plain)
        self._build_automata()
        self.silent = tuple(Fate(entry.uid, entry.name, fired=False, reason="no match") for entry in self.entries)
        # One of each kind of what entries with regular expressions see.
        self.with_regexes = tuple(
            {
                (item.entry.scan_depth, item.entry.match): item
                for item in self.items
                if any(key and key.kind == "regex" for key in item.keys)
            }.values()
        )
        self.from_start = {
            item.entry.id: item.rules.from_start for item in self.items if item.rules.from_start is not None
        }
        self.deepest = max((entry.scan_depth or 0 for entry in self.entries), default=0)
        self.regex_owners: tuple[tuple[int, ...], ...] = ()
        self.programs: list[Any] = []
        self.filters: list[tuple[Any, int]] = []
        self.unfiltered: list[int] = []
        self._compile()

    def _with_room(self, entry: Entry) -> Entry:
        """An entry with its keys, as long as there is room for more of them; else it keeps none."""
        keys = (*entry.keys, *entry.secondary_keys)
        self._keys_left -= len(keys)
        self._chars_left -= sum(map(len, keys))
        if not keys or (self._keys_left >= 0 and self._chars_left >= 0):
            return entry
        self.crowded.add((entry.book, entry.uid))
        return replace(entry, keys=(), secondary_keys=())

    def _item(self, entry: Entry, settings: Settings, quirks: frozenset[Quirk]) -> Keyed:
        if "few_decorators" in quirks:
            entry, rules = read_few(entry, empty_is_text="decorators_only_content_is_text" in quirks)
        else:
            entry, rules = read_decorators(entry)
        folds = not (settings.case_sensitive if entry.case_sensitive is None else entry.case_sensitive)
        whole = settings.whole_words if entry.whole_words is None else entry.whole_words
        reading = Reading(folds, whole, quirks & _ABOUT_KEYS)

        def read(keys: tuple[str, ...]) -> tuple[Key | None, ...]:
            return tuple(None if moves(key) else read_key(key, reading) for key in keys)

        entry = self._with_room(entry)
        return Keyed(entry, rules, reading, read(entry.keys), read(entry.secondary_keys))

    def _gather(self) -> None:
        """All keys that are the same in every turn, and whose primary keys they are."""
        for i, item in enumerate(self.items):
            for key in item.keys:
                if key is not None:
                    self.owners.setdefault(key, []).append(i)
            for key in (*item.keys, *item.secondary):
                if key is None:
                    continue
                if key.fault:
                    self.faults[key] = key.fault
                if key.fault or key.kind == "regex":
                    self.mentions.setdefault(key, []).append(i)
                if key.kind == "regex":
                    self.regexes.setdefault(key, len(self.regexes))
                elif key.kind == "plain" and "\x01" not in key.text:
                    self.plain.setdefault(key, len(self.plain))

    def _build_automata(self) -> None:
        """One for folded text and one for text as it is; a word's value are the keys that it spells."""
        spelled: dict[bool, dict[str, list[Key]]] = {True: {}, False: {}}
        for key in self.plain:
            spelled[key.fold].setdefault(key.text, []).append(key)
        for fold, words in spelled.items():
            if not words:
                continue
            automaton = ahocorasick.Automaton()
            for word, keys in words.items():
                automaton.add_word(word, (len(word), tuple((self.plain[key], key.bound) for key in keys)))
            automaton.make_automaton()
            self.words[fold] = automaton

    def _compile(self) -> None:
        """Compile all expressions, behind filters that tell by the words they need which of them may match at all."""
        wanted, self.regexes = list(self.regexes), {}
        memory = max(_FEWEST_BYTES, min(MAX_PATTERN_BYTES, MAX_PROGRAMS_BYTES // max(1, len(wanted))))
        left = MAX_COMPILING
        affordable: list[Key] = []
        for key in wanted:
            left -= compiling(key)
            if left >= 0:
                affordable.append(key)
            else:
                self.faults[key] = f"never matches: {_COSTLY}"
        for start in range(0, len(affordable), _FILTERED):
            self._add_filter(affordable[start : start + _FILTERED], memory)
        self.regex_owners = tuple(tuple(self.owners.get(key, ())) for key in self.regexes)

    def _add_filter(self, keys: Sequence[Key], memory: int) -> None:
        """A filter for some expressions; what is too much for one is for two, and one alone needs none."""
        chosen = re2.Filter()
        kept: list[Key] = []
        for key in keys:
            try:
                chosen.Add(key.text.encode(), options_for(key, memory))
                kept.append(key)
            except re2.error:
                self.faults[key] = compiled(key, memory)[1]
        start = len(self.programs)
        try:
            if kept:
                chosen.Compile()
        except re2.error:
            if len(kept) == 1:
                self.unfiltered.append(start)
                self._number(kept[0], compiled(kept[0], memory)[0])
            else:
                self._add_filter(kept[: len(kept) // 2], memory)
                self._add_filter(kept[len(kept) // 2 :], memory)
            return
        for number, key in enumerate(kept):
            self._number(key, chosen.re(number))
        if kept:
            self.filters.append((chosen, start))

    def _number(self, key: Key, program: Any) -> None:
        self.regexes[key] = len(self.programs)
        self.programs.append(program)


CROWDED = (
    f"its keys are not read: the books together have more than {MAX_KEYS:,} keys or {MAX_KEY_CHARS:,} letters in them"
)
_COSTLY = "the expressions before it took all the work that the books of a turn allow"
_ABOUT_KEYS: frozenset[Quirk] = frozenset(
    {"whole_word_is_ascii", "whitespace_key_always_matches", "invalid_regex_is_plain_text"}
)
