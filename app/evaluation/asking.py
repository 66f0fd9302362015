"""Asking an engine many questions with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.cli.console import err
from models.engine import EngineError, EngineUnavailable, PromptTooLong, Sampling
from models.judging.asking import Answer, Asked, Question
from models.scene import Scene

GREEDY = Sampling(max_tokens=128, temperature=0.0)
"""The likeliest reply, so that a run can be repeated."""


async def answers(asked: Asked, questions: Sequence[Question], doing: str) -> list[Answer]:
    """An answer to each. Raises `EngineUnavailable` with what to do where the engine went away."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True) as progress:
        task = progress.add_task(doing, total=len(questions))
        try:
            return await asked.ask(questions, lambda: progress.advance(task))
        except ExceptionGroup as group:
            why = _first(group)
            if not isinstance(why, EngineError):
                raise
            raise EngineUnavailable(f"{why} What was answered is kept: the same command goes on from there.") from why


async def replies(
    asked: Asked, scenes: Sequence[Scene], doing: str = "asking", sampling: Sampling = GREEDY
) -> list[Answer]:
    """The reply to each scene, rendered as the server renders it; a scene that is too long is a refusal."""
    fit: list[Question] = []
    places: list[int | str] = []
    for scene in scenes:
        try:
            fit.append(await asked.question(scene, sampling))
            places.append(len(fit) - 1)
        except PromptTooLong as error:
            places.append(str(error))
    said = await answers(asked, fit, doing)
    return [said[place] if isinstance(place, int) else Answer("", refused=place) for place in places]


def _first(error: Exception) -> Exception:
    """The first of what went wrong at the same time."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
