"""The passes of an activation: the first, recursion, reading further back, and delay levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil

from app.lore.chance import Draws
from app.lore.entry import Entry, Settings
from app.lore.fate import Pass, State, Verdict
from app.lore.find import Finder, Work
from app.lore.groups import settle
from app.lore.index import Index
from app.lore.judge import Judge
from app.lore.keys import Fill
from app.lore.scan import Reel
from app.lore.timers import Clock

Measure = Callable[[str], float]
MAX_PASSES = 200
"""Our own bound; a chain of entries that call each other is as long as the book otherwise."""
_LOOK = 8_000  # steps of work that judging an entry takes


class Passes:
    """Runs passes until nothing new is found. `active` holds what was accepted, in order, and with macros filled."""

    def __init__(
        self,
        index: Index,
        reel: Reel,
        judge: Judge,
        finder: Finder,
        clock: Clock,
        settings: Settings,
        draws: Draws,
        measure: Measure,
        fill: Fill,
        work: Work,
    ) -> None:
        self.active: dict[int, Entry] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.refused: dict[int, str] = {}
        self.fired_in: dict[int, int] = {}
        self.passes: list[Pass] = []
        self.overflow = False
        self.tokens = 0
        self._index, self._reel, self._judge, self._finder = index, reel, judge, finder
        self._clock, self._settings, self._draws = clock, settings, draws
        self._measure, self._fill, self._work = measure, fill, work
        self._failed: set[int] = set()
        self._contents: dict[int, str] = {}
        self._base = self._accepted = 0.0
        self._rank = {id(entry): i for i, entry in enumerate(index.entries)}
        self._external = (
            {i for i, entry in enumerate(index.entries) if judge.is_external(entry)} if judge.has_external else set()
        )
        touched = clock.touched
        self._touched = {i for i, entry in enumerate(index.entries) if entry.id in touched} if touched else set()
        self._levels = sorted({entry.delay_until_recursion for entry in index.entries if entry.delay_until_recursion})
        if self._levels and "first_delay_level_has_no_pass" in index.quirks:
            judge.level = self._levels.pop(0)

    def run(self) -> None:
        """All passes."""
        state: State | None = "INITIAL"
        most = min(self._settings.max_passes or MAX_PASSES, MAX_PASSES)
        while state and len(self.passes) < most and self._work.left >= 0:
            state = self._pass(state)

    def _pass(self, state: State) -> State | None:
        """One pass; returns the kind of the next."""
        one = Pass(state)
        self.passes.append(one)
        if state == "RECURSION" and self._levels and "first_delay_level_has_no_pass" not in self._index.quirks:
            self._judge.level = self._judge.level or self._levels.pop(0)
        found = self._find(one, state)
        found.sort(key=self._precedence)
        settled = settle(
            [self._index.entries[i] for i in found],
            [self._index.entries[i] for i in self.active],
            self._clock,
            lambda entry: self._judge.score(self._index.items[self._rank[id(entry)]], state),
            self._draws,
            self._index.quirks,
            scoring=self._settings.group_scoring,
        )
        one.lost, one.closed = settled.lost, settled.closed
        for entry, why in settled.out:
            self.refused[self._rank[id(entry)]] = f"{why}: {entry.group}"
        kept = [self._rank[id(entry)] for entry in settled.kept]
        self._admit(one, kept)
        return self._next(state, [i for i in kept if i not in self._failed])

    def _find(self, one: Pass, state: State) -> list[int]:
        """Positions of the entries that are found in this pass."""
        views = {self._judge.view(item, state) for item in self._index.with_regexes}
        depth = max((view.depth for view in views), default=0)
        self._finder.read_to(max(depth, self._judge.depth, self._index.deepest))
        looked = self._index.special | self._touched | self._external | self._finder.candidates(views)
        found = []
        for i in sorted(looked):
            if i in self.active or i in self._failed:
                continue
            if not self._work.spend(_LOOK):
                break
            item = self._index.items[i]
            verdict = self.verdicts[i] = self._judge.judge(item, state)
            if verdict.fires:
                found.append(i)
                one.found.append((item.entry, verdict.reason))
            elif verdict.reason != "no match":
                one.skipped.append((item.entry, verdict.reason))
        return found

    def _precedence(self, i: int) -> tuple[bool, bool, float, int]:
        """Who comes first in groups and in the budget: what is sticky, and with our own rules what is constant."""
        entry = self._index.entries[i]
        if "constants_have_no_precedence" in self._index.quirks:
            return not self._clock.is_sticky(entry), False, 0, i
        priority = entry.order if entry.priority is None else entry.priority
        return not self._clock.is_sticky(entry), not entry.constant, -priority, i

    def _admit(self, one: Pass, candidates: Iterable[int]) -> None:
        """Accept candidates as chance and budget allow."""
        base = self._base if "budget_counts_scanned_text_only" in self._index.quirks else self._accepted
        one.tokens.append(ceil(base))
        running = 0.0
        closed = ""
        for i in candidates:
            entry = self._index.entries[i]
            if closed and not entry.ignore_budget:
                self.refused[i] = f"budget: closed by {closed}"
                continue
            if not self._lucky(entry):
                self._failed.add(i)
                one.failed.append(entry)
                self.refused[i] = "probability"
                continue
            content = self._contents[i] = self._fill(entry.content)
            cost = self._measure(content) + self._measure("\n")
            tokens = ceil(base) + ceil(running + cost)
            one.tokens.append(ceil(running + cost))
            if tokens >= self._settings.budget and not entry.ignore_budget:
                self.overflow = True
                one.over = entry
                closed = repr(entry.name or entry.uid)
                self.refused[i] = f"budget: {tokens} tokens with it, the sum must stay below {self._settings.budget}"
                continue
            running += cost
            self._accepted += cost
            self._accept(one, i, tokens)

    def _accept(self, one: Pass, i: int, tokens: int) -> None:
        self.active[i] = self._index.entries[i]
        self.refused.pop(i, None)
        self.fired_in[i] = len(self.passes) - 1
        self.tokens = tokens
        one.accepted.append(self._index.entries[i])

    def _lucky(self, entry: Entry) -> bool:
        if entry.probability >= 100 or self._clock.is_sticky(entry):
            return True
        value = self._draws.next()
        passed = value * 100 <= entry.probability
        self._draws.record("probability", value, uid=entry.uid, passed=passed)
        return passed

    def content(self, i: int) -> str:
        """An entry's content, with macros filled once it came to the budget."""
        return self._contents.get(i, self._index.entries[i].content)

    def _next(self, state: State, left: list[int]) -> State | None:
        """The kind of the next pass, after one that left these entries, refused ones among them."""
        feeding = [i for i in left if not self._index.entries[i].prevent_recursion]
        chosen: State | None = None
        follows = feeding or (state == "MIN_ACTIVATIONS" and self._reel.blocks)
        if self._settings.recursive and not self.overflow and follows:
            chosen = "RECURSION"
        if chosen is None and not self.overflow and self._wants_more():
            self._judge.deeper += 1
            chosen = "MIN_ACTIVATIONS"
        if chosen is None and self._levels and self._may_delay():
            self._judge.level = self._levels.pop(0)
            chosen = "RECURSION"
        if chosen is not None:
            self._reel.add_block("\n".join(map(self.content, feeding)))
            lines = [self._measure(self.content(i)) + self._measure("\n") for i in feeding]
            self._base += sum(lines) if lines else self._measure("\n")
        return chosen

    def _wants_more(self) -> bool:
        """Whether too few speak and there is more to read."""
        settings, depth = self._settings, self._judge.depth
        if len(self.active) >= settings.min_activations:
            return False
        beyond = depth if "min_activations_one_too_deep" in self._index.quirks else depth + 1
        return not (settings.max_depth and beyond > settings.max_depth) and depth <= len(self._reel.messages)

    def _may_delay(self) -> bool:
        quirks = self._index.quirks
        if self.overflow and "delay_levels_after_overflow" not in quirks:
            return False
        return self._settings.recursive or "delay_levels_recurse_with_recursion_off" in quirks
