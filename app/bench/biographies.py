"""Character100's biographies: paragraphs about public figures, and questions that one paragraph answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import typer


@dataclass(frozen=True)
class Question:
    """A question to `role`; `gold` is the id of the paragraph that answers it."""

    role: str
    text: str
    gold: int


@dataclass(frozen=True)
class Biographies:
    """Every paragraph under its id, the place in `paragraphs`; the ids of each role; and the questions."""

    paragraphs: tuple[str, ...]
    roles: Mapping[str, tuple[int, ...]]
    questions: tuple[Question, ...]

    @property
    def role_of(self) -> dict[int, str]:
        """Whom a paragraph is about, by its id."""
        return {number: role for role, numbers in self.roles.items() for number in numbers}


def read_biographies(folder: Path) -> Biographies:
    """The `NAME.txt` files of a folder, rows of `paragraph<tab>question<tab>answer`.

    Questions come in turns: one to each role, then the next. Raises typer.BadParameter with what to do when there is no
    such file or a row has another form.
    """
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise typer.BadParameter(
            f"{folder} has no NAME.txt file; give the folder of Character100's question files.", param_hint="--data"
        )
    paragraphs: list[str] = []
    roles: dict[str, tuple[int, ...]] = {}
    asked: list[list[Question]] = []
    for file in files:
        rows = _rows(file)
        known = {text: len(paragraphs) + place for place, text in enumerate(dict.fromkeys(text for text, _ in rows))}
        paragraphs += known
        roles[file.stem] = tuple(known.values())
        asked.append([Question(file.stem, question, known[text]) for text, question in rows])
    return Biographies(tuple(paragraphs), roles, _in_turns(asked))


def _rows(file: Path) -> list[tuple[str, str]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} can't be read as UTF-8 text: {error}.", param_hint="--data") from None
    rows = []
    for number, line in enumerate(lines, 1):
        cells = line.rstrip("\r").split("\t")
        if not line.strip():
            continue
        if len(cells) != 3 or not cells[0].strip() or not cells[1].strip():
            raise typer.BadParameter(
                f"{file}, line {number}: {len(cells)} cells; expected paragraph, question, answer with tabs between.",
                param_hint="--data",
            )
        rows.append((cells[0], cells[1]))
    if not rows:
        raise typer.BadParameter(f"{file} is empty; expected paragraph, question, answer.", param_hint="--data")
    return rows


def _in_turns(asked: Sequence[Sequence[Question]]) -> tuple[Question, ...]:
    return tuple(question for round_ in zip_longest(*asked) for question in round_ if question is not None)
