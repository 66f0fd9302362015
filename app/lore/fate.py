"""What became of entries, pass by pass: the values that explain an activation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.lore.entry import Entry

State = Literal["INITIAL", "RECURSION", "MIN_ACTIVATIONS"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an entry: `key` is the primary key that was found, `message_index` the message it begins in.

    `reason` says why it fired (`constant`, `key`, `sticky`, `external`, `decorator`, `and_any` …) or at which check it
    failed (`disabled`, `character`, `stage`, `cooldown`, `no match`, `secondary`, `group`, `probability`,
    `budget: …` …), with what is wrong with its keys. `passed` is the number of the pass that it fired in.
    """

    uid: str
    name: str
    fired: bool
    reason: str
    key: str | None = None
    message_index: int | None = None
    passed: int | None = None


@dataclass(slots=True)
class Pass:
    """One pass over the entries: who was found and by what, who was skipped, and what became of those found.

    `tokens`: what counted before it, then the count after each entry that came to the budget.
    """

    state: State
    found: list[tuple[Entry, str]] = field(default_factory=list)
    skipped: list[tuple[Entry, str]] = field(default_factory=list)
    lost: list[tuple[Entry, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)
    accepted: list[Entry] = field(default_factory=list)
    over: Entry | None = None
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one entry in one pass, before groups, chance and budget."""

    fires: bool
    reason: str
    key: str | None = None
    place: int | None = None
