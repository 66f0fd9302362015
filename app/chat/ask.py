"""The values a turn is made of, from what was asked to what is known when the character speaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.auth import Caller
from app.bond.store import BondState
from app.characters.schemas import CharacterFields, Stage
from app.groups.cast import Cast
from app.lore.books import Books
from app.lore.chance import Draw
from app.lore.fate import Fate
from app.lore.timers import Timers
from app.personas.store import Who
from app.sessions.store import Place, Scope
from app.settings import Layout, Strategy
from app.stopwatch import Stopwatch
from app.tables import Floats
from models.engine import Sampling
from models.prompt import Prompt
from models.scene import Lore, Message, Scene
from retrieval.cache import Stamp

Outcome = Literal["finished", "hung_up", "failed", "cancelled"]
Mode = Literal["say", "regenerate", "continue", "impersonate", "speak"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants. `messages` end with the user's; `budget` is the most that the prompt may have, `room` what
    prompt and reply have together, in tokens.

    `client_system` is what the client instructed before the talk, `client_late` what it did in it or after it.
    `calls` are calls of tools that followed, with their results; they go after the prompt and are stored nowhere.
    `limited`: the caller named how long the reply may be.
    `begun` is what the reply to the last message already begins with; only what comes after it is told, all is stored.
    `below` is the stored message that `messages` follow; without it their place in the tree is looked for. `as_user`:
    the language model speaks as the user.
    `stage` names one of the character's for this turn only, whatever the bond says; empty for none. `persona` names
    one of the user's, empty for none; unset, it is their default.
    In a group `cast` says who is there and who of them speaks, and `place` where in the tree.
    """

    caller: Caller
    slug: str
    user: str
    messages: tuple[Message, ...]
    sampling: Sampling
    budget: int
    room: int
    window: int
    layout: Layout
    strategy: Strategy | None
    client_system: str = ""
    client_late: str = ""
    session_id: str | None = None
    store: bool = True
    choices: int = 1
    stage: str | None = None
    persona: str | None = None
    calls: tuple[Message, ...] = ()
    begun: str = ""
    below: str | None = None
    as_user: bool = False
    cast: Cast | None = None
    place: Place | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says at the start of a turn. The stamps tell whether the indexes are up to date.

    `scope` is that of the character who speaks, `talk` that of the session; only in a group they differ. `heard` is
    what of `place` the character was there for, which is all but in a group.
    `elsewhere` tells that the turn does not go on from the end of its session's current branch; `note` is the author's;
    `who` is the persona that the user talks as; `last_at` is when the session was last talked in.
    """

    scope: Scope
    talk: Scope
    character: CharacterFields
    revision: int
    place: Place
    heard: Place
    elsewhere: bool
    note: str
    note_depth: int
    bond: BondState
    stage: Stage | None
    who: Who | None
    last_at: datetime | None
    lorebooks: Books
    lore_timers: Timers
    lines: Stamp
    memories: Stamp


@dataclass(frozen=True, slots=True)
class Feeling:
    """How it feels now: the last message and the talk, with their vectors; its emotion and the mood, float32 [8]."""

    said_text: str
    talk_text: str
    said: Floats
    talk: Floats
    emotion: Floats
    mood: Floats


@dataclass(frozen=True, slots=True)
class Recalled:
    """Texts for the scene, best first, the ids of the memories among them, and every candidate with its reasons."""

    strategy: Strategy
    lines: tuple[str, ...]
    memories: tuple[str, ...]
    memory_ids: tuple[int, ...]
    considered_lines: tuple[dict[str, Any], ...]
    considered_memories: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Lore for the scene, the fate of every entry, what was drawn, the timers that run on, and what goes to outlets."""

    told: tuple[Lore, ...]
    fates: tuple[Fate, ...]
    draws: tuple[Draw, ...]
    timers: Timers
    outlets: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is ready to be spoken."""

    id: str
    session_id: str
    ask: Ask
    known: Known
    feeling: Feeling
    recalled: Recalled
    lore: Told
    scene: Scene
    prompt: Prompt
    watch: Stopwatch
