"""An entry of a lorebook, and how books are read: the values that all of world info works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Logic = Literal["and_any", "not_all", "not_any", "and_all"]
Position = Literal["before", "after", "note_top", "note_bottom", "depth", "examples_top", "examples_bottom", "outlet"]
Role = Literal["system", "user", "assistant"]
Trigger = Literal["normal", "continue", "impersonate", "swipe", "regenerate", "quiet"]
CardField = Literal["user_persona", "persona", "personality", "character_note", "scenario", "creator_notes"]
Source = Literal["character", "global", "chat"]
Strategy = Literal["evenly", "character_first", "global_first"]

LOGICS: tuple[Logic, ...] = get_args(Logic)
POSITIONS: tuple[Position, ...] = get_args(Position)
ROLES: tuple[Role, ...] = get_args(Role)
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
OURS = "moodline"
"""The extension in which files of other programs keep what only we have."""
DEPTH = 4
"""Messages before the end at which an entry that names no depth is told."""
FOREVER = 10**9
"""Messages; longer than any chat."""


@dataclass(frozen=True, slots=True)
class CharacterFilter:
    """Only for characters of these card names or tags; with `exclude`, for all but them. Empty lists ask nothing."""

    exclude: bool = False
    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a lorebook.

    It speaks when it is `constant`, or when one of `keys` is found and `secondary_keys`, if there are any, agree by
    `logic`. `None` in `scan_depth`, `case_sensitive`, `whole_words` and `group_scoring` means the book's setting.
    `order` places it in the text (larger is nearer the end); `priority` decides who keeps its place in a short budget,
    and is `order` when None. `ignore_budget`: counted, never dropped.

    `depth` counts messages from the end, for position `depth`; `outlet` names where `{{outlet::name}}` stands.
    `probability` is per cent. `group` lists inclusion groups with commas: one of a group speaks. `sticky`, `cooldown`
    and `delay` are messages. `delay_until_recursion` is a level, 0 for none. `match` names the parts of the card that
    keys are looked for in as well. `triggers`: kinds of turn that it speaks in, empty for all. `vectorized`: may be
    found by meaning. `stages` are those of the bond that it speaks at, empty for all; None where nobody said so, and
    what its keys say of affinity may be read for it (`app.lore.ladder`). `digest` tells one wording of an entry from
    another. `extra` is what only other programs know.
    """

    uid: str
    content: str
    name: str = ""
    keys: tuple[str, ...] = ()
    secondary_keys: tuple[str, ...] = ()
    logic: Logic = "and_any"
    selective: bool = True
    constant: bool = False
    enabled: bool = True
    order: float = 100
    priority: float | None = None
    position: Position = "after"
    depth: int | None = DEPTH
    role: Role = "system"
    outlet: str = ""
    scan_depth: int | None = None
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    ignore_budget: bool = False
    probability: float = 100
    group: str = ""
    group_override: bool = False
    group_weight: float = 100
    group_scoring: bool | None = None
    exclude_recursion: bool = False
    prevent_recursion: bool = False
    delay_until_recursion: int = 0
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    match: tuple[CardField, ...] = ()
    triggers: tuple[str, ...] = ()
    vectorized: bool = False
    only_for: CharacterFilter | None = None
    stages: tuple[str, ...] | None = None
    book: str = "book"
    digest: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What timers know it by: uids are unique only within a book."""
        return f"{self.book}.{self.uid}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How books are read.

    `scan_depth` in messages; `budget` in tokens. `min_activations` reads further back, at most `max_depth` messages
    (0: all), until so many entries speak. `max_passes` limits all passes together, 0 for our own bound alone.
    """

    scan_depth: int = 4
    budget: int = 1024
    case_sensitive: bool = False
    whole_words: bool = False
    recursive: bool = False
    group_scoring: bool = False
    min_activations: int = 0
    max_depth: int = 0
    max_passes: int = 0


DEFAULTS = Settings()


def uid_rank(uid: str) -> tuple[bool, int, str]:
    """Numbers first, as numbers."""
    numeric = uid.isdecimal() and len(uid) < 19
    return not numeric, int(uid) if numeric else 0, uid
