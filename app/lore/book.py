"""World info: which entries of lorebooks speak on this turn, and why the others stay silent.

SillyTavern's semantics (behaviour recorded from version 1.12.6, and its documentation for what came later). Its
peculiarities can be had by name (`quirks`); without them plain rules hold. Read `activate`: it is the story, and every
step is a file beside it. Pure: the same books, chat, timers and draws give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.lore.chance import Draw, Draws
from app.lore.entry import DEFAULTS, Entry, Settings
from app.lore.fate import Fate, Pass
from app.lore.find import MAX_WORK, Finder, Work
from app.lore.index import Index
from app.lore.judge import Chat, Judge
from app.lore.keys import Fill
from app.lore.passes import Measure, Passes
from app.lore.scan import Reel
from app.lore.timers import NO_TIMERS, Clock, Timers


@dataclass(frozen=True, slots=True)
class Activation:
    """What an evaluation came to.

    `activated` is in the order of activation, with macros filled in contents and decorators taken out; `fired` the same
    in the order of the prompt. `fates` has one for each entry, in the index's order.
    """

    activated: tuple[Entry, ...]
    fired: tuple[Entry, ...]
    fates: tuple[Fate, ...]
    passes: tuple[Pass, ...]
    draws: tuple[Draw, ...]
    timers: Timers
    tokens: int
    overflow: bool


def activate(
    index: Index,
    chat: Chat,
    settings: Settings = DEFAULTS,
    *,
    measure: Measure = len,
    fill: Fill = str,
    timers: Timers = NO_TIMERS,
    draws: Draws | None = None,
    length: int | None = None,
    dry_run: bool = False,
) -> Activation:
    """Find the entries that speak after `chat`.

    `measure` gives the tokens of a text, which may be fractions: they are rounded up once summed. `fill` puts names in
    for macros. `length` is that of the whole chat in messages, for timers, where `chat` holds only its end. A dry run
    leaves timers as they are. Raises nothing of its own: fates tell of keys that can't run.
    """
    quirks = index.quirks
    draws = draws or Draws()
    work = Work(MAX_WORK)
    reel = Reel(chat.messages, chat.prompts, chat.fields, marked="x01_marks_message_start" in quirks)
    clock = Clock(timers, index.entries, len(chat.messages) if length is None else length, quirks, dry_run=dry_run)
    finder = Finder(index, reel, fill, work)
    judge = Judge(index, chat, settings, clock, finder, fill)
    passes = Passes(index, reel, judge, finder, clock, settings, draws, measure, fill, work)
    passes.run()
    activated = tuple(_told(entry, passes.content(i)) for i, entry in passes.active.items())
    return Activation(
        activated=activated,
        fired=in_order(activated, reverse_ties="equal_order_is_reversed" in quirks),
        fates=_fates(index, passes, finder, len(chat.messages)),
        passes=tuple(passes.passes),
        draws=tuple(draws.made),
        timers=clock.end(passes.active.values()),
        tokens=passes.tokens,
        overflow=passes.overflow,
    )


def _told(entry: Entry, content: str) -> Entry:
    return entry if content == entry.content else replace(entry, content=content)


def in_order(activated: Iterable[Entry], *, reverse_ties: bool) -> tuple[Entry, ...]:
    """Entries in the order of the prompt: ascending `order`, then as they were activated or the other way round."""
    given = tuple(activated)
    return tuple(sorted(given[::-1] if reverse_ties else given, key=lambda entry: entry.order))


def _fates(index: Index, passes: Passes, finder: Finder, length: int) -> tuple[Fate, ...]:
    """Those that no pass looked at share what was written down when the index was made."""
    fates = list(index.silent)
    for i, verdict in passes.verdicts.items():
        entry, fired, place = index.entries[i], i in passes.active, verdict.place
        reason = passes.refused.get(i, verdict.reason) if verdict.fires and not fired else verdict.reason
        said_in = None if place is None or place < 0 else length - 1 - place
        fates[i] = Fate(entry.uid, entry.name, fired, reason, verdict.key, said_in, passes.fired_in.get(i))
    for i, faults in finder.faults_by_entry().items():
        fates[i] = replace(fates[i], reason=fates[i].reason + faults)
    return tuple(fates)
