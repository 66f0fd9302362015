"""`moodline eval personality`: whether a role fills in a questionnaire as people would who know it.

Without a judge the role chooses a number itself, by the expectation over its first-token probabilities where the engine
tells them. With a judge it is interviewed, and the judge reads a number from each answer (InCharacter).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from app.evaluation.asking import GREEDY, answers, replies
from app.evaluation.engines import Choices, opened
from app.evaluation.questionnaires import Item, choosing, interview, read_labels, read_questionnaire, reading
from app.evaluation.reading import few, persona
from app.evaluation.report import Result, report
from models.data.talk import language_of
from models.engine import Sampling
from models.judging.asking import Asked, Question
from models.judging.intervals import Mean, interval
from models.judging.personality import Choice, Label, Questionnaire, chosen, likeness, mean_mass

ALTERNATIVES = 20
"""First tokens to be told; the most that OpenAI's dialect allows."""

Labels = Mapping[str, Mapping[str, Label]]
Memories = Callable[[Item], Sequence[str]]


@dataclass(frozen=True)
class Filled:
    """What came of a questionnaire: an answer, and a choice or None where it can't be read, for every item."""

    items: tuple[Item, ...]
    texts: tuple[str, ...]
    choices: tuple[Choice | None, ...]

    def scores(self, form: Questionnaire) -> dict[str, dict[str, float]]:
        """By role and dimension."""
        agreed: dict[str, dict[int, float]] = {item.role: {} for item in self.items}
        for item, choice in zip(self.items, self.choices, strict=True):
            if choice:
                agreed[item.role][item.number] = choice.value
        return {role: form.score(values) for role, values in agreed.items()}

    def rows(self) -> list[dict[str, Any]]:
        """For the file of results."""
        told = zip(self.items, self.texts, self.choices, strict=True)
        return [
            {"role": item.role, "said": item.said, "answer": text, "value": choice and choice.value}
            for item, text, choice in told
        ]


async def run(choices: Choices, data: Path, labels: Path, profiles: str, judge: str, role: str) -> None:
    """Let every labelled role, or one, fill in the questionnaire, and compare with the labels."""
    form = read_questionnaire(data)
    wanted = labels_of(labels, form, role)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(opened(choices.engine, choices))
        reader = await stack.enter_async_context(opened(judge, choices)) if judge else None
        if engine.plays and len(wanted) > 1:
            raise typer.BadParameter(f"{choices.engine} is one character; say which with --role.", param_hint="--role")
        filled = await fill(engine, reader, form, items_of(form, wanted, choices.limit), profiles)
    scores = {name: {k: round(v, 2) for k, v in row.items()} for name, row in filled.scores(form).items()}
    report(
        "personality",
        {choices.engine: measured(form, filled, wanted)},
        file=choices.out,
        rows=filled.rows(),
        questionnaire=form.name,
        judge=judge or None,
        roles=len(wanted),
        scores=scores,
    )  # fmt: skip


def labels_of(file: Path, form: Questionnaire, role: str) -> Labels:
    """The labels of all roles, or of one. Raises typer.BadParameter where it has none."""
    labels = read_labels(file, form.name)
    if role and role not in labels:
        raise typer.BadParameter(f"{file} has no {role}; it has {', '.join(labels)}.", param_hint="--role")
    return {role: labels[role]} if role else labels


def items_of(form: Questionnaire, labels: Labels, limit: int) -> list[Item]:
    """Every statement for every role, or `limit` statements spread over the questionnaire, the same for all."""
    numbers = few(range(len(form.statements)), limit)
    return [Item(role, language_of([role]), number, form.statements[number]) for role in labels for number in numbers]


async def fill(
    engine: Asked, judge: Asked | None, form: Questionnaire, items: Sequence[Item], profiles: str,
    recall: Memories = lambda _: (),
) -> Filled:  # fmt: skip
    """Ask for every item, with what `recall` finds for it among the role's memories."""
    said = Sampling(max_tokens=8, temperature=0.0, logprobs=_alternatives(engine))
    if judge is None:
        scenes = [choosing(item, form, persona(profiles, item.role), recall(item)) for item in items]
        heard = await replies(engine, scenes, f"{form.name}", said)
    else:
        scenes = [interview(item, persona(profiles, item.role), recall(item)) for item in items]
        heard = await replies(engine, scenes, f"{form.name}", GREEDY)
    texts = tuple(answer.text for answer in heard)
    if judge:
        said = Sampling(max_tokens=8, temperature=0.0, logprobs=_alternatives(judge))
        asked = [Question(reading(item, form, text), said) for item, text in zip(items, texts, strict=True)]
        heard = await answers(judge, asked, "judging")
    return Filled(tuple(items), texts, tuple(chosen(answer, form.low, form.high) for answer in heard))


def measured(form: Questionnaire, filled: Filled, labels: Labels) -> Result:
    """The paper's four numbers, over roles, and how much could not be read."""
    found = likeness(form, filled.scores(form), labels)
    mass = mean_mass(filled.choices)
    result: dict[str, Mean | float | int | str] = {
        "Acc(Dim)": interval(found.right, found.roles),
        "Acc(Full)": interval(found.full, found.told),
        "MSE": interval(found.squared, found.roles),
        "MAE": interval(found.absolute, found.roles),
        "unreadable": sum(choice is None for choice in filled.choices),
    }
    return result if mass is None else {**result, "options' probability": mass}


def _alternatives(engine: Asked) -> int | None:
    return ALTERNATIVES if "logprobs" in engine.engine.abilities else None
