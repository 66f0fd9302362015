"""StyleChat's rows (2403.11439): answering in a style, reciting what it is like before, and moving to another style.

A style's profile is {name, description, examples, observation}. Recited, it stands in the reply's hidden part: the
language model remembers it, and the prompt has only the style's name.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.data.rows import Row, read_rows
from models.example import Example
from models.scene import Message, Scene

Task = Literal["answer", "recite", "transfer"]

ASSISTANT = "Assistant"
NAMED = "{char} talks in the {style} style."
ASKED = "Say this in the {style} style, and keep what it means:\n{text}"
RECITED = "The {style} style: {description}\nExamples:\n{examples}\nPattern:\n{observation}"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a style is like."""

    name: str
    description: str
    examples: tuple[str, ...]
    observation: Mapping[str, str]

    def told(self) -> str:
        """The profile in words: description, examples, pattern, in the order in which it is recited."""
        observed = "\n".join(f"- {name}: {text}" for name, text in self.observation.items())
        examples = "\n".join(f"- {text}" for text in self.examples)
        return RECITED.format(style=self.name, description=self.description, examples=examples, observation=observed)


def read_profile(path: Path) -> Profile:
    """A profile from its JSON file. Raises BadRow."""
    row = next(read_rows(path), Row(path, 1, {}))
    observed = row.fields.get("observation") or {}
    if not isinstance(observed, dict):
        raise row.fault("observation must be an object.")
    examples = tuple(row.checked(text, "examples") for text in row.items("examples"))
    patterns = {name: row.checked(text, name) for name, text in observed.items()}
    return Profile(row.text("name"), row.text("description"), examples, patterns)


def rows(paths: Sequence[Path], profiles: Mapping[str, Profile], tasks: Sequence[Task]) -> Iterator[Example]:
    """Rows of files of {context, response, style}: one for each of the tasks. A context is a group.

    To transfer, the same context's answers in another style are asked for in this one; what they say is near, not the
    same. Raises BadRow.
    """
    others: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    numbered = ((f"{path.stem}-{number}", row) for path in paths for number, row in enumerate(read_rows(path), 1))
    for name, row in numbered:
        context, style, response = row.text("context"), row.text("style"), row.text("response")
        history = talk(context)
        if not history or history[-1].role != "user":
            raise row.fault("the context must end with what another person says, and the name of who answers.")
        group = hashlib.sha256(context.encode()).hexdigest()[:16]
        profile = profiles.get(style)

        def made(task: str, said: tuple[Message, ...], reply: str, manner: str) -> Example:
            scene = Scene(ASSISTANT, "en", "", style=manner, history=said)
            return Example(scene, reply, id=f"{name}-{task}", group=group, source=row.path.name)  # noqa: B023

        named = NAMED.format(char=ASSISTANT, style=style)
        if "answer" in tasks:
            yield made("answer", history, response, profile.told() if profile else named)
        if "recite" in tasks and profile:
            yield made("recite", history, f"<think>\n{profile.told()}\n</think>\n\n{response}", named)
        if "transfer" in tasks:
            for place, other in others[context]:
                if other.text("style") != style:
                    asked = (Message("user", ASKED.format(style=style, text=other.text("response"))),)
                    yield made(f"from-{place}", asked, response, profile.told() if profile else "")
            others[context].append((name, row))


def talk(context: str) -> tuple[Message, ...]:
    """The messages of `Person A: …` lines; who has the last, empty line answers."""
    lines = [line for line in context.split("\n") if line.strip()]
    turns = [(name.strip(), tidy(text)) for name, colon, text in (line.partition(":") for line in lines) if colon]
    if not turns or turns[-1][1]:
        return ()
    answers = turns[-1][0]
    return tuple(Message("assistant" if name == answers else "user", text) for name, text in turns[:-1] if text)


def tidy(text: str) -> str:
    """Text whose words and marks were parted by spaces, put together."""
    joined = re.sub(r"\s+([.,!?;:%)])", r"\1", text)
    return re.sub(r"(\w)\s*'\s*(?=(?:s|t|re|ve|ll|d|m)\b)", r"\1'", joined).strip()
