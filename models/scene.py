"""The scene: everything a character knows when it speaks, as one frozen value.

The server builds it, JSONL stores it, and training, evaluation and golden tests replay it through the same
`models.prompt.render`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Language = Literal["zh", "en"]
Place = Literal["before", "after", "note_top", "note_bottom", "examples_top", "examples_bottom", "depth"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message as a language model reads it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Lore:
    """World-info text that fired. `constant` lore never changes within a session and belongs to the stable prefix.

    `place` is before or after what is said of the character, above or below the author's note or the past lines, or
    `depth` messages before the end, said by `role`.
    """

    text: str
    constant: bool = False
    place: Place = "after"
    depth: int = 4
    role: Literal["system", "user", "assistant"] = "system"


@dataclass(frozen=True, slots=True)
class Scene:
    """What the character knows at this moment.

    `passing` is what of the character's texts holds only now, such as the time; it is told late, so that the others are
    the same turn after turn. `lines` and `memories` are ready-made texts, best first. `mood` is a worded feeling or
    empty. `client_system` is what the caller's own system prompt said; it is placed, labelled, after ours.
    `client_late` is what the caller said so later than the conversation's first message; it stays near the end. `note`
    is the author's, told `note_depth` messages of the history before its end. `before` is how much was said before
    `history`, in `models.window.size`, so that what is left out does not move where the rest is cut. `begun` is what
    the reply to the history's last message already begins with, to be gone on with as it stands.
    `company` names who else is there, in a group; what they say is in the user's messages, after their names.
    `rules` and `closing` are said instead of the frame's own first and last words, where they are not empty; `examples`
    are talks that show how the character speaks.
    """

    character: str
    language: Language
    persona: str
    rules: str = ""
    personality: str = ""
    examples: str = ""
    style: str = ""
    scenario: str = ""
    passing: str = ""
    stage: str = ""
    stage_persona: str = ""
    user: str = ""
    company: str = ""
    user_persona: str = ""
    client_system: str = ""
    client_late: str = ""
    note: str = ""
    note_depth: int = 4
    mood: str = ""
    lore: tuple[Lore, ...] = ()
    lines: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    history: tuple[Message, ...] = ()
    before: int = 0
    begun: str = ""
    closing: str = ""

    def to_json(self) -> str:
        """One JSONL row."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, row: str) -> Scene:
        """The scene of a JSONL row; raises `TypeError` or `KeyError` when fields are unknown or missing."""
        return cls.from_dict(json.loads(row))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Scene:
        """The scene of `dataclasses.asdict`'s output."""
        parsed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        parsed["lore"] = tuple(Lore(**entry) for entry in fields.get("lore", ()))
        parsed["history"] = tuple(Message(**message) for message in fields.get("history", ()))
        return cls(**parsed)
