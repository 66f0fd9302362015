"""Questionnaires a character fills in, and how near it comes to its label (InCharacter 2310.17976, Emotional RAG)."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.judging.asking import Answer

_NUMBER = re.compile(r"(?<![\d.])\d+(?!\d)(?!\.\d)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One item in both languages: as it says something of a person, and rewritten as an interviewer asks it.

    Agreeing speaks against its `dimension` where it is `reverse`.
    """

    zh: str
    en: str
    asked_zh: str
    asked_en: str
    dimension: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """Statements that are agreed with from `low` (not at all) to `high` (entirely).

    What a dimension comes to is told from `least` to `most`: per cent for 16Personalities, the options for BFI.
    """

    name: str
    low: int
    high: int
    least: float
    most: float
    statements: tuple[Statement, ...]

    @property
    def middle(self) -> float:
        """Above it a dimension is high, else low."""
        return (self.least + self.most) / 2

    def score(self, agreed: Mapping[int, float]) -> dict[str, float]:
        """Each dimension by how far its statements, by number from 0, were agreed with; none of one is no score."""
        found: dict[str, list[float]] = defaultdict(list)
        for number, value in agreed.items():
            statement = self.statements[number]
            share = (value - self.low) / (self.high - self.low)
            found[statement.dimension].append(1 - share if statement.reverse else share)
        span = self.most - self.least
        return {name: self.least + span * statistics.fmean(shares) for name, shares in found.items()}


class Label(NamedTuple):
    """What people say a character is in one dimension: a score, and `H`, `L` or, where they are divided, `X`."""

    score: float
    kind: str


class Choice(NamedTuple):
    """How far a statement was agreed with. `mass` is the options' probability as the first token, if told."""

    value: float
    mass: float | None


def chosen(answer: Answer, low: int, high: int) -> Choice | None:
    """The expectation over the options' first-token probabilities, else the one number that was said.

    Greedy answers of small models collapse to one option; their expectation doesn't. None where no option had any
    probability and the answer doesn't hold exactly one number from `low` to `high`.
    """
    options = {str(number): number for number in range(low, high + 1)}
    weights = [(options[text.strip()], math.exp(value)) for text, value in answer.first if text.strip() in options]
    mass = sum(weight for _, weight in weights)
    if mass > 0:
        return Choice(sum(number * weight for number, weight in weights) / mass, mass)
    said = {number for number in map(int, _NUMBER.findall(answer.text)) if low <= number <= high}
    return Choice(float(said.pop()), None) if len(said) == 1 else None


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near scores come to labels, dimension by dimension, labels `X` left out.

    `right` is 1 where both are high or both low; `full` is 1 for a role with all dimensions right; errors are shares
    of the range. `roles` names whose each of the dimensions is, `told` whose each of `full`.
    """

    roles: tuple[str, ...]
    right: tuple[float, ...]
    squared: tuple[float, ...]
    absolute: tuple[float, ...]
    told: tuple[str, ...]
    full: tuple[float, ...]


def likeness(
    form: Questionnaire, scores: Mapping[str, Mapping[str, float]], labels: Mapping[str, Mapping[str, Label]]
) -> Likeness:
    """Compare `scores` with `labels`, both by role and dimension; a dimension that has no score is wrong by the range.

    An unreadable answer is a fault of whoever answered, and must not make the rest look better.
    """
    roles, right, errors, told, full = list[str](), list[float](), list[float](), list[str](), list[float]()
    span = form.most - form.least
    for role, found in scores.items():
        counted = {name: label for name, label in labels[role].items() if label.kind in {"H", "L"}}
        alike = []
        for name, label in counted.items():
            score = found.get(name)
            alike.append(float(score is not None and (score > form.middle) == (label.kind == "H")))
            errors.append(1.0 if score is None else (score - label.score) / span)
        if alike:
            roles += [role] * len(alike)
            right += alike
            told.append(role)
            full.append(float(all(alike)))
    squared, absolute = tuple(error**2 for error in errors), tuple(map(abs, errors))
    return Likeness(tuple(roles), tuple(right), squared, absolute, tuple(told), tuple(full))


def mean_mass(choices: Sequence[Choice | None]) -> float | None:
    """The mean probability of the options as first tokens, None where no engine told any."""
    masses = [choice.mass for choice in choices if choice and choice.mass is not None]
    return statistics.fmean(masses) if masses else None
