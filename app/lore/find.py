"""Find keys in what was said: which are there, and in which message. Bounded work, whatever the book and the chat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.lore.index import CROWDED, Index
from app.lore.keys import Fill, Key, Reading, compile_alone, find_plain, is_bounded, read_key, trim
from app.lore.scan import Reel, View

MAX_WORK = 4 * 10**8  # of one activation, in steps of about a nanosecond
_READ = 10_000  # steps of reading a key that names the speakers
MAX_REGEX_WORK = 15 * 10**7  # instructions times bytes; 0.03 to 0.1 ns each as a rule, 10 ns at the very worst
MAX_MATCHES = 200_000  # that the automaton tells one by one
ELSEWHERE = -1
"""Found in no message: in a prompt, a part of the card, or what recursion brought."""
_TRIED = "was not tried: the keys before it took all the work that an activation allows"


class Work:
    """What is left of the work that one activation may do."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def spend(self, steps: int) -> bool:
        """Whether that much was left."""
        self.left -= steps
        return self.left >= 0


@dataclass(slots=True)
class _Seen:
    """Where a plain key was first seen."""

    message: int | None = None
    prompt: bool = False
    block: bool = False
    fields: set[str] = field(default_factory=set)


class Finder:
    """Looks for keys in a reel. Plain keys are found in one go over each new piece of text."""

    def __init__(self, index: Index, reel: Reel, fill: Fill, work: Work) -> None:
        self.faults: dict[Key, str] = {}
        self._index, self._reel, self._fill, self._work = index, reel, fill, work
        self._regexes_left = Work(MAX_REGEX_WORK)
        self._seen: dict[int, _Seen] = {}
        self._messages = self._blocks = self._matches = 0
        self._regexes: dict[tuple[Key, View], int | None] = {}
        self._folded: dict[View, str] = {}
        self._maybe: dict[View, frozenset[int]] = {}
        for prompt in reel.prompts:
            self._read(prompt, "prompt")
        for name, text in reel.fields.items():
            self._read(text, "field", name)

    def read_to(self, depth: int) -> None:
        """Look through messages up to a depth, and through the blocks that came since the last time."""
        for number in range(self._messages, min(depth, len(self._reel.messages))):
            self._read(self._reel.messages[number], "message", number)
        self._messages = max(self._messages, min(depth, len(self._reel.messages)))
        new = self._reel.blocks[self._blocks :]
        self._blocks += len(new)
        for block in new:
            self._read(block, "block")
        if new:
            self._regexes = {at: place for at, place in self._regexes.items() if not at[1].blocks}
            self._folded = {view: text for view, text in self._folded.items() if not view.blocks}
            self._maybe = {view: keys for view, keys in self._maybe.items() if not view.blocks}

    def candidates(self, views: Iterable[View]) -> set[int]:
        """Positions of the entries that one of their keys may have been found for."""
        found = {i for number in self._seen for i in self._index.plain_owners[number]}
        for view in views:
            for number in self._may_match(view):
                found.update(self._index.regex_owners[number])
        return found

    def find(self, key: Key | None, written: str, reading: Reading, view: View) -> int | None:
        """How many messages before the newest a key was found in, `ELSEWHERE`, or None if it was not found."""
        if key is None:
            if not self._work.spend(_READ):
                return None
            key = read_key(self._fill(written), reading)
        if key.kind == "never":
            return None
        if key.kind == "always":
            return 0 if view.depth and self._reel.messages else ELSEWHERE
        if key.kind == "regex":
            return self._find_regex(key, view)
        number = self._index.plain.get(key)
        return self._search(key, view) if number is None else self._recall(number, view)

    def has_raw(self, written: str, reading: Reading, view: View) -> bool:
        """Whether a key is found as it is written: without macros or trimming, and the empty one always."""
        if trim(written) == written and written:
            return self.find(read_key(written, reading), written, reading, view) is not None
        if not written:
            return True
        text = self._reel.text(view).plain
        needle, text = (written.lower(), text.lower()) if reading.fold else (written, text)
        return self._work.spend(len(text)) and needle in text

    def faults_by_entry(self) -> dict[int, str]:
        """What is wrong with entries' keys, in brackets."""
        told: dict[int, str] = {}
        for key, fault in {**self._index.faults, **self.faults}.items():
            for i in self._index.mentions.get(key, ()):
                told[i] = f"{told.get(i, '')} ({key.written[:80]} {fault})"
        if self._index.crowded:
            crowded = (i for i, one in enumerate(self._index.entries) if (one.book, one.uid) in self._index.crowded)
            told |= dict.fromkeys(crowded, f" ({CROWDED})")
        return told

    def _recall(self, number: int, view: View) -> int | None:
        """Where a key of the automaton was seen, of what the view shows."""
        seen = self._seen.get(number)
        if seen is None or view.blind:
            return None
        if seen.message is not None and seen.message < view.depth:
            return seen.message
        shown = seen.prompt or (seen.block and view.blocks) or not seen.fields.isdisjoint(view.fields)
        return ELSEWHERE if shown else None

    def _search(self, key: Key, view: View) -> int | None:
        """Look for a plain key in the whole text, as one that names the speakers."""
        if self._work.left < 0:
            return None
        text = self._reel.text(view)
        if not self._work.spend(3 * len(text.plain) + 500):
            self.faults[key] = _TRIED
            return None
        if key.fold and view not in self._folded:
            self._folded[view] = text.plain.lower()
        folded = self._folded[view] if key.fold else text.plain
        at = find_plain(key, folded)
        return None if at < 0 else text.message_at(len(folded[:at].encode("utf-8", "replace")))

    def _find_regex(self, key: Key, view: View) -> int | None:
        if (key, view) not in self._regexes:
            self._regexes[key, view] = self._run(key, view)
        return self._regexes[key, view]

    def _run(self, key: Key, view: View) -> int | None:
        number = self._index.regexes.get(key)
        if number is not None:
            if number not in self._may_match(view):
                return None
            program = self._index.programs[number]
        elif key in self._index.faults:
            return None
        else:
            program, fault = compile_alone(key)
            if program is None:
                self.faults[key] = fault
                return None
        text = self._reel.text(view)
        if not self._regexes_left.spend(program.programsize * len(text.encoded) + 2_000):
            self.faults[key] = _TRIED
            return None
        match = program.search(text.encoded)
        return None if match is None else text.message_at(match.start())

    def _may_match(self, view: View) -> frozenset[int]:
        """Numbers of the expressions whose words are all in the text."""
        if view not in self._maybe:
            if self._work.left < 0:
                return frozenset()
            text = self._reel.text(view).encoded
            maybe = set(self._index.unfiltered)
            for chosen, start in self._index.filters:
                if self._work.spend(5 * len(text)):
                    maybe.update(start + number for number in chosen.Match(text, True) or ())
            self._maybe[view] = frozenset(maybe)
        return self._maybe[view]

    def _read(self, text: str, kind: str, name: Any = None) -> None:
        """Note every plain key that a piece of text holds."""
        for fold, automaton in self._index.words.items():
            read = text.lower() if fold else text
            if not self._work.spend(20 * len(read)):
                return
            if self._matches > MAX_MATCHES or not self._read_matches(read, automaton, kind, name):
                self._read_each(read, fold, kind, name)

    def _read_matches(self, text: str, automaton: Any, kind: str, name: Any) -> bool:
        """False when there are too many matches to look at each."""
        for end, (length, keys) in automaton.iter(text):
            self._matches += 1
            for number, bound in keys:
                seen = self._seen.get(number)
                if seen is not None and _has(seen, kind, name):
                    continue
                if not bound or is_bounded(text, end + 1 - length, end + 1, bound):
                    self._note(number, kind, name)
            if self._matches > MAX_MATCHES:
                return False
        return True

    def _read_each(self, text: str, fold: bool, kind: str, name: Any) -> None:
        """Look for each key by itself: dearer for ordinary text, but no text makes it dear."""
        for key, number in self._index.plain.items():
            seen = self._seen.get(number)
            if key.fold != fold or (seen is not None and _has(seen, kind, name)):
                continue
            if not self._work.spend(3 * len(text) + 100):
                self.faults[key] = _TRIED
            elif find_plain(key, text) >= 0:
                self._note(number, kind, name)

    def _note(self, number: int, kind: str, name: Any) -> None:
        seen = self._seen.setdefault(number, _Seen())
        if kind == "message" and seen.message is None:
            seen.message = name
        elif kind == "prompt":
            seen.prompt = True
        elif kind == "block":
            seen.block = True
        elif kind == "field":
            seen.fields.add(name)


def _has(seen: _Seen, kind: str, name: Any) -> bool:
    if kind == "message":
        return seen.message is not None
    if kind == "field":
        return name in seen.fields
    return seen.prompt if kind == "prompt" else seen.block
