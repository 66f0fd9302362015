"""`moodline eval character-llm`: interviews with a person of history, scored by judges (Character-LLM, 2310.10158)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from app.evaluation.engines import Choices, opened
from app.evaluation.grading import Sheet, agreed, graded, judges_of, lost, results
from app.evaluation.reading import few, rows_of
from app.evaluation.report import Result, report
from app.evaluation.talks import Talk, converse, repetition, transcript
from models.engine import Sampling
from models.example import BadRow
from models.judging.overlap import distinct
from models.judging.rubrics import CHARACTER_LLM
from models.scene import Scene

INTERVIEW = Sampling(max_tokens=192, temperature=0.5, top_p=0.95, seed=1)
"""The paper's temperature and top_p."""
SETTING = "A coffee shop in the afternoon. {name} is talking with a person of the 21st century, whom {name} trusts."
"""The location and status of the paper's meta prompt."""


async def run(choices: Choices, data: Path, profile: Path, name: str, judges: Sequence[str], turns: int) -> None:
    """Interview, each question by itself or `turns` in one talk, and let judges score what was said."""
    questions = few(read(data), choices.limit)
    persona = _text(profile).split("\n\n")
    # The first paragraphs sum a life up; the whole page would fill a small context.
    scene = Scene(name, "en", "\n\n".join(persona[:4]), scenario=SETTING.format(name=name))
    lines = [questions[place : place + turns] for place in range(0, len(questions), turns)]
    async with opened(choices.engine, choices) as engine:
        talks = await converse(engine, [scene] * len(lines), lines, INTERVIEW)
    async with judges_of(judges, choices) as ready:
        found = await graded(
            ready, [sheet for at, talk in enumerate(talks) for sheet in _sheets(at, talk, choices.engine)]
        )
    said = [reply for talk in talks for reply in talk.said]
    told: dict[str, Result] = {choices.engine: {**repetition(talks), "distinct-2": distinct(said, 2), **lost(found)}}
    for system, row in results(found).items():
        told[system] = {**told.get(system, {}), **row}
    rows = [{"id": str(at), "talk": transcript(talk.scene)} for at, talk in enumerate(talks)]
    report(
        "character-llm", told, file=choices.out, rows=rows, questions=len(questions), talks=len(talks),
        agreement=agreed(found.ratings),
    )  # fmt: skip


def read(file: Path) -> list[str]:
    """The questions. Raises typer.BadParameter with the damaged row's line."""
    try:
        return [row.text("question") for row in rows_of(file)]
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} can't be read as text: {error}.", param_hint="--profile") from None


def _sheets(place: int, talk: Talk, system: str) -> list[Sheet]:
    scene = talk.scene
    asked, said = transcript(scene, -1), scene.history[-1].content
    whole = "(all that is said in the interview above)"
    return [
        Sheet(
            str(place), rubric, "en", scene.character, scene.persona,
            transcript(scene) if len(talk.said) > 1 else asked, whole if len(talk.said) > 1 else said, system,
        )
        for rubric in CHARACTER_LLM
    ]  # fmt: skip
