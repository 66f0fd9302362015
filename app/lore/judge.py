"""Judge one entry in one pass: the checks in SillyTavern's order, and whether its keys are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.lore.entry import CardField, Entry, Settings
from app.lore.fate import State, Verdict
from app.lore.find import Finder
from app.lore.index import Index, Keyed
from app.lore.keys import Fill
from app.lore.quirks import Quirk
from app.lore.scan import MAX_DEPTH, View
from app.lore.timers import Clock


@dataclass(frozen=True, slots=True)
class Chat:
    """What a turn is about, as far as lore can see it.

    `messages` are (speaker, text), oldest first; keys see `speaker: text`, or the text alone if the speaker is empty.
    `prompts` are scanned with them. `fields` are parts of the card that entries may ask to be matched. `card` and
    `tags` are what character filters look at. `triggers` say what kind of turn it is. `replies` is how many of the
    messages are the character's, `greeting` the number of the first message among the card's. `stage` is the bond's.
    `external` are ids of entries that were found by meaning.
    """

    messages: Sequence[tuple[str, str]]
    prompts: Sequence[str] = ()
    fields: Mapping[CardField, str] = field(default_factory=dict)
    card: str = ""
    tags: Sequence[str] = ()
    triggers: Sequence[str] = ("normal",)
    replies: int = 0
    greeting: int | None = None
    stage: str = ""
    external: frozenset[str] = frozenset()


class Judge:
    """Judges entries; `deeper` is how many messages further back than the settings say is read, `level` the highest
    delay level that may fire."""

    def __init__(self, index: Index, chat: Chat, settings: Settings, clock: Clock, finder: Finder, fill: Fill) -> None:
        self.deeper = self.level = 0
        self.quirks: frozenset[Quirk] = index.quirks
        self._index, self._chat, self._settings = index, chat, settings
        self._clock, self._finder, self._fill = clock, finder, fill

    @property
    def depth(self) -> int:
        """How many messages an entry sees that names no depth of its own."""
        return self._settings.scan_depth + self.deeper

    @property
    def has_external(self) -> bool:
        """Whether anything was found from outside."""
        return bool(self._chat.external)

    def is_external(self, entry: Entry) -> bool:
        """Whether it was found from outside."""
        return entry.id in self._chat.external

    def view(self, item: Keyed, state: State) -> View:
        """What an entry sees in a pass of this kind."""
        entry = item.entry
        depth = self.depth if entry.scan_depth is None else entry.scan_depth
        blind = depth <= 0 and "depth_zero_is_blind" in self.quirks
        return View(min(max(depth, 0), MAX_DEPTH), state != "MIN_ACTIVATIONS", entry.match, blind)

    def judge(self, item: Keyed, state: State) -> Verdict:
        """Whether an entry is found in this pass, and why or why not."""
        sticky = self._clock.is_sticky(item.entry)
        if obstacle := self._obstacle(item, state, sticky=sticky):
            return Verdict(False, obstacle)
        if item.rules.force == "dont_activate":
            return Verdict(False, "dont_activate")
        if cause := self._cause(item, sticky=sticky):
            return Verdict(True, cause)
        if not item.entry.keys:
            return Verdict(False, "no_keys")
        return self._look(item, self.view(item, state))

    def _cause(self, item: Keyed, *, sticky: bool) -> str:
        """Why an entry speaks whatever its keys say, or nothing."""
        causes = (
            (item.rules.force == "activate", "decorator"),
            (item.entry.constant, "constant"),
            (self.is_external(item.entry), "external"),
            (sticky, "sticky"),
        )
        return next((cause for holds, cause in causes if holds), "")

    def score(self, item: Keyed, state: State) -> int:
        """How many keys are found, for group scoring."""
        view = self.view(item, state)
        entry = item.entry
        primary = self._hits(item, entry.keys, view)
        if not entry.keys:
            return 0
        if not entry.secondary_keys or entry.logic not in ("and_any", "and_all"):
            return primary
        secondary = self._hits(item, entry.secondary_keys, view)
        if entry.logic == "and_any" or secondary == len(entry.secondary_keys):
            return primary + secondary
        return primary

    def _hits(self, item: Keyed, keys: Sequence[str], view: View) -> int:
        return sum(self._scores(item, key, view) for key in keys)

    def _scores(self, item: Keyed, written: str, view: View) -> bool:
        if "score_uses_raw_keys" not in self.quirks:
            return self._finder.find(None, written, item.reading, view) is not None
        return self._finder.has_raw(written, item.reading, view)

    def _obstacle(self, item: Keyed, state: State, *, sticky: bool) -> str:
        """The check that keeps an entry silent whatever its keys say, or nothing."""
        entry = item.entry
        ruled = (
            (not entry.enabled, "disabled"),
            (bool(entry.triggers) and not set(self._chat.triggers).intersection(entry.triggers), "trigger"),
        )
        timed = (
            (self._clock.is_delayed(entry), "delay"),
            (self._clock.is_cooling(entry) and not sticky, "cooldown"),
        )
        why = next((why for holds, why in ruled if holds), "") or self._filtered(entry)
        why = why or next((why for holds, why in timed if holds), "")
        return why if why or sticky else self._waits(entry, state) or self._ruled_out(item)

    def _filtered(self, entry: Entry) -> str:
        if entry.stages and self._chat.stage not in entry.stages:
            return "stage"
        only = entry.only_for
        if only is None:
            return ""
        if only.names and (self._chat.card in only.names) == only.exclude:
            return "character"
        if only.tags and any(tag in only.tags for tag in self._chat.tags) == only.exclude:
            return "tag"
        return ""

    def _waits(self, entry: Entry, state: State) -> str:
        if entry.delay_until_recursion and state != "RECURSION":
            return "delay_until_recursion"
        if entry.delay_until_recursion > self.level:
            return "recursion_level"
        if state == "RECURSION" and self._settings.recursive and entry.exclude_recursion:
            return "exclude_recursion"
        return ""

    def _ruled_out(self, item: Keyed) -> str:
        rules, replies = item.rules, self._chat.replies
        if rules.impossible:
            return rules.impossible
        if replies < rules.after:
            return "activate_only_after"
        if rules.every and (replies == 0 or replies % rules.every):
            return "activate_only_every"
        if rules.greeting is not None and rules.greeting != self._chat.greeting:
            return "is_greeting"
        return ""

    def _look(self, item: Keyed, view: View) -> Verdict:
        """Whether its keys agree."""
        entry = item.entry
        found = self._first(item, view)
        if found is None:
            return Verdict(False, "no match")
        key, place = found
        reason, fires = "key", True
        if entry.selective and entry.secondary_keys:
            fires = self._agree(item, view)
            reason = entry.logic if fires else "secondary"
        if fires and (why := self._ruled_by_keys(item, view)):
            fires, reason = False, why
        return Verdict(fires, reason, key, place)

    def _first(self, item: Keyed, view: View) -> tuple[str, int] | None:
        for key, written in zip(item.keys, item.entry.keys, strict=True):
            if (place := self._finder.find(key, written, item.reading, view)) is not None:
                return written, place
        return None

    def _agree(self, item: Keyed, view: View) -> bool:
        """Whether secondary keys do what the entry's logic asks."""
        logic = item.entry.logic
        missing = logic in ("not_all", "and_all")
        for key, written in zip(item.secondary, item.entry.secondary_keys, strict=True):
            found = self._finder.find(key, written, item.reading, view) is not None
            if found != missing:
                return logic in ("and_any", "not_all")
        return logic in ("not_any", "and_all")

    def _ruled_by_keys(self, item: Keyed, view: View) -> str:
        def found(written: str) -> bool:
            return self._finder.find(None, written, item.reading, view) is not None

        if not all(any(map(found, keys)) for keys in item.rules.also):
            return "additional_keys"
        return "exclude_keys" if any(map(found, item.rules.never)) else ""
