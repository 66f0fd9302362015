"""LoCoMo's conversations and questions: very long talks of two people, and which turns answer a question.

Source: Maharana et al. 2024 (arXiv 2402.17753), `locomo10.json`. Category 1 needs several turns, 2 is about time, 3
needs knowledge of the world, 4 one turn; 5 asks for what was never said and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from app.bench.contexts import read_rows

CATEGORIES = (1, 2, 3, 4)
_SESSION = re.compile(r"session_(\d+)$")
_TURN = re.compile(r"D\d+:\d+")
_WHEN = "%I:%M %p on %d %B, %Y"


@dataclass(frozen=True)
class Said:
    """One turn; `id` is `D<session>:<turn>`. A shown picture is part of what was said, by its caption."""

    id: str
    speaker: str
    text: str
    session: int
    at: datetime

    @property
    def line(self) -> str:
        """The turn as a memory shows it."""
        return f"{self.speaker}: {self.text}"


@dataclass(frozen=True)
class Question:
    """A question, its category, and the ids of the turns that answer it."""

    text: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    """All turns of two people in order, and the questions about them that have evidence."""

    name: str
    turns: tuple[Said, ...]
    questions: tuple[Question, ...]


def read_conversations(file: Path) -> tuple[Conversation, ...]:
    """The conversations of a file.

    Raises typer.BadParameter with what to do when the file is missing or of another form, or asks nothing.
    """
    found = []
    for place, entry in enumerate(read_rows(file, "--data"), 1):
        try:
            found.append(_conversation(entry, place))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise typer.BadParameter(
                f"{file}: entry {place} is no LoCoMo conversation ({type(error).__name__}: {error}); "
                "expected the form of locomo10.json: conversation with session_N and session_N_date_time, and qa.",
                param_hint="--data",
            ) from None
    if not any(conversation.questions for conversation in found):
        raise typer.BadParameter(f"{file}: no question names evidence that is in its turns.", param_hint="--data")
    return tuple(found)


def _conversation(entry: Mapping[str, Any], place: int) -> Conversation:
    turns = tuple(_turns(entry["conversation"]))
    known = {turn.id for turn in turns}
    questions = (
        Question(str(qa["question"]), int(qa["category"]), frozenset(_TURN.findall(" ".join(qa["evidence"]))) & known)
        for qa in entry["qa"]
    )
    kept = tuple(one for one in questions if one.category in CATEGORIES and one.evidence)
    return Conversation(str(entry.get("sample_id", place)), turns, kept)


def _turns(conversation: Mapping[str, Any]) -> Iterator[Said]:
    numbers = sorted(int(found[1]) for name in conversation if (found := _SESSION.match(name)))
    for number in numbers:
        at = datetime.strptime(conversation[f"session_{number}_date_time"], _WHEN)
        for turn in conversation[f"session_{number}"]:
            shown = f" [shows {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            yield Said(turn["dia_id"], turn["speaker"], f"{turn['text']}{shown}", number, at)
