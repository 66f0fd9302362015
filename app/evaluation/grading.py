"""Replies and talks graded by one judge or several: scores, what could not be read, and how far the judges agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from app.evaluation.asking import answers
from app.evaluation.engines import Choices, opened
from app.evaluation.reading import rows_of
from app.evaluation.report import Result
from models.engine import Sampling
from models.example import BadRow
from models.judging.asking import Asked, Question
from models.judging.judge import grade, grading
from models.judging.ratings import Rating, agreements, means
from models.judging.rubrics import Rubric
from models.scene import Language

VERDICT = Sampling(max_tokens=256, temperature=0.0)
"""Room for a sentence of reasons and the score."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One thing to be graded by one rubric; `id` is the unit's."""

    id: str
    rubric: Rubric
    language: Language
    role: str
    persona: str
    context: str
    reply: str
    system: str


@dataclass(frozen=True, slots=True)
class Graded:
    """All ratings that could be read, and how many of each rater's could not."""

    ratings: tuple[Rating, ...]
    unreadable: Mapping[str, int]


@asynccontextmanager
async def judges_of(specs: Sequence[str], choices: Choices) -> AsyncIterator[dict[str, Asked]]:
    """The judges, started, by their names on the command line."""
    async with AsyncExitStack() as stack:
        yield {spec: await stack.enter_async_context(opened(spec, choices)) for spec in specs}


async def graded(judges: Mapping[str, Asked], sheets: Sequence[Sheet]) -> Graded:
    """Every sheet by every judge."""
    found: list[Rating] = []
    unreadable = Counter(dict.fromkeys(judges, 0))
    asked = [Question(grading(s.rubric, s.language, s.role, s.persona, s.context, s.reply), VERDICT) for s in sheets]
    for name, judge in judges.items():
        for sheet, answer in zip(sheets, await answers(judge, asked, f"judged by {name}"), strict=True):
            score = grade(answer.text, sheet.rubric)
            if score is None:
                unreadable[name] += 1
            else:
                found.append(Rating(sheet.id, name, sheet.rubric.name, float(score), sheet.system))
    return Graded(tuple(found), dict(unreadable))


def read_ratings(file: Path, rubrics: Sequence[Rubric]) -> list[Rating]:
    """Ratings of people or of a reward model: JSON rows of id, rater, dimension, score and, if several, system.

    Raises typer.BadParameter with the line of a row that has no such dimension or a score out of its range.
    """
    try:
        return [_rating(row, {rubric.name: rubric for rubric in rubrics}) for row in rows_of(file, "--ratings")]
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint="--ratings") from None


def results(found: Graded) -> dict[str, Result]:
    """Means by system."""
    return {system or "rated": told for system, told in means(found.ratings).items()}


def lost(found: Graded) -> dict[str, int]:
    """How many answers of each judge could not be read, as a result's row tells it."""
    return {f"unreadable, {name}": count for name, count in found.unreadable.items()}


def agreed(ratings: Sequence[Rating]) -> dict[str, dict[str, Any]]:
    """How far raters agree, by dimension, for the JSON line; empty with one rater."""
    rounded = {name: asdict(found) for name, found in agreements(ratings).items()}
    return {name: {key: _rounded(value) for key, value in found.items()} for name, found in rounded.items()}


def _rounded(value: float) -> float | int | None:
    return None if value != value else round(value, 4)  # noqa: PLR0124  # NaN is no JSON


def _rating(row: Any, rubrics: Mapping[str, Rubric]) -> Rating:
    name = row.text("dimension")
    if name not in rubrics:
        raise row.fault(f"there is no dimension {name}; there are {', '.join(rubrics)}.")
    score = row.fields.get("score")
    rubric = rubrics[name]
    if not isinstance(score, int | float) or isinstance(score, bool) or not rubric.low <= score <= rubric.high:
        raise row.fault(f"score must be a number from {rubric.low} to {rubric.high}, not {score}.")
    return Rating(str(row.fields.get("id", "")), row.text("rater"), name, float(score), row.text("system", empty=True))
