"""`moodline eval drift`: whether a character keeps its manner through a long talk, or begins to repeat itself.

A discriminator that was trained on what the roles really said hears each reply; what it gives the right role, early and
late in the talk, is the in-style score. Self-similarity is the mean ROUGE-L of two replies of a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, cycle, islice
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import typer

from app.cli.console import err
from app.evaluation.engines import Choices, opened
from app.evaluation.reading import persona
from app.evaluation.report import Result, report
from app.evaluation.rolebench import Item, read
from app.evaluation.talks import SAID, Talk, converse, repeated, transcript
from models.data.talk import language_of
from models.judging.intervals import difference, interval
from models.judging.overlap import rouge_l
from models.judging.style import Discriminator
from models.scene import Scene

T = TypeVar("T")
PARTS = 3
"""A talk's first and last third are compared."""


async def run(choices: Choices, data: Path, profiles: str, role: str, turns: int) -> None:
    """Talk with the roles of the file, and hear their replies by turn."""
    rows = read(data)
    roles = [role] if role else list(dict.fromkeys(row.role for row in rows))
    roles = roles[: choices.limit or None]
    judge = _judge(data, rows)
    if unknown := set(roles) - set(judge.speakers):
        raise typer.BadParameter(f"{data} has no rows of {', '.join(unknown)}.", param_hint="--role")
    spoken = {row.role: row.references[0] for row in rows}
    scenes = [Scene(name, language_of([spoken[name]]), persona(profiles, name)) for name in roles]
    lines = [said(scene, turns) for scene in scenes]
    async with opened(choices.engine, choices) as engine:
        if engine.plays and len(roles) > 1:
            raise typer.BadParameter(f"{choices.engine} is one character; say which with --role.", param_hint="--role")
        talks = await converse(engine, scenes, lines)
    report(
        "drift", {choices.engine: measured(talks, judge)}, file=choices.out, roles=len(roles), turns=turns,
        chance=round(1 / len(judge.speakers), 4),
        rows=[{"role": talk.scene.character, "talk": transcript(talk.scene)} for talk in talks],
    )  # fmt: skip


def _judge(data: Path, rows: Sequence[Item]) -> Discriminator:
    """Who names speakers. Raises typer.BadParameter where the rows don't teach it to."""
    try:
        with err.status("training the discriminator"):
            return Discriminator([row.references[0] for row in rows], [row.role for row in rows])
    except ValueError as error:
        raise typer.BadParameter(f"{data} can't teach whose words are whose: {error}", param_hint="--data") from None


def said(scene: Scene, turns: int) -> list[str]:
    """What is said to a character: the lines of `SAID`, from the second round on with what number they come back as."""
    lines = SAID[scene.language]
    again = {"zh": "（又过了{n}天）{line}", "en": "({n} days later) {line}"}[scene.language]
    every = islice(enumerate(cycle(lines)), turns)
    return [line if at < len(lines) else again.format(n=at, line=line) for at, line in every]


def measured(talks: Sequence[Talk], judge: Discriminator) -> Result:
    """In-style scores, self-similarity and repetition of the first and the last third, and their changes by talk."""
    style = [_own(talk, judge) for talk in talks]
    again = [repeated(talk) for talk in talks]
    found: dict[str, object] = {}
    for name, early, late in (
        ("in style", [fmean(_early(row)) for row in style], [fmean(_late(row)) for row in style]),
        (
            "self-similarity",
            [_alike(_early(talk.said)) for talk in talks],
            [_alike(_late(talk.said)) for talk in talks],
        ),
        ("repetition", [fmean(_early(row)) for row in again], [fmean(_late(row)) for row in again]),
    ):
        found |= {f"{name}, first third": interval(early), f"{name}, last third": interval(late)}
        found[f"{name}, change"] = difference(late, early)
    return {**found, "replies that did not come": sum(talk.lost for talk in talks)}  # type: ignore[dict-item]


def _own(talk: Talk, judge: Discriminator) -> list[float]:
    place = judge.speakers.index(talk.scene.character)
    return [float(row[place]) for row in judge.scores(talk.said)]


def _alike(replies: Sequence[str]) -> float:
    """The mean ROUGE-L of two of them; among themselves, because what is compared with more is nearer to some of it."""
    return fmean([rouge_l(one, [other]) for one, other in combinations(replies, 2)] or [0.0])


def _early(row: Sequence[T]) -> Sequence[T]:
    return row[: max(1, len(row) // PARTS)]


def _late(row: Sequence[T]) -> Sequence[T]:
    return row[-max(1, len(row) // PARTS) :]
