"""How what is said and done moves a bond. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol, TypeVar

import numpy as np

from app.tables import Floats
from retrieval.emotion import EMOTIONS, blend

AFFINITY = "affinity"
TURN = "turn"
"""The cause that every exchange is, whatever it felt like."""
LOWEST, HIGHEST = 0.0, 100.0
HYSTERESIS = 5.0
"""A stage once reached is left only when affinity falls this far below its threshold."""
INERTIA = 0.6
"""The share of the mood that stays from one turn to the next."""
FEELINGS: dict[str, Mapping[str, float]] = {
    TURN: {AFFINITY: 0.5},
    "joy": {AFFINITY: 3.0},
    "acceptance": {AFFINITY: 3.0},
    "fear": {AFFINITY: 0.5},
    "surprise": {AFFINITY: 0.5},
    "sadness": {AFFINITY: 0.5},
    "disgust": {AFFINITY: -3.0},
    "anger": {AFFINITY: -3.0},
    "anticipation": {AFFINITY: 1.0},
}
"""Points for an exchange and per unit of each emotion in what the user said. People who keep talking grow closer.
Confiding fear or sadness brings them a little closer; anger and disgust push them apart."""


class Stage(Protocol):
    """A stage of a relationship, entered at `affinity`."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def affinity(self) -> float:
        """The affinity at which it begins."""
        ...


S = TypeVar("S", bound=Stage)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a number begins, and between which bounds it stays."""

    start: float = LOWEST
    least: float = LOWEST
    most: float = HIGHEST

    def hold(self, value: float) -> float:
        """The value, or the bound that it is beyond."""
        return min(self.most, max(self.least, value))


@dataclass(frozen=True, slots=True)
class Rules:
    """What moves the bonds of one character.

    `spans` are those of affinity and of the character's own numbers; `feelings` has, for `TURN` and for each emotion,
    what it adds to which number.
    """

    stages: tuple[Stage, ...] = ()
    spans: Mapping[str, Span] = field(default_factory=lambda: {AFFINITY: Span()})
    feelings: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: FEELINGS)
    hysteresis: float = HYSTERESIS
    inertia: float = INERTIA

    @property
    def digest(self) -> str:
        """16 hex digits that change with the rules: a bond that was summed up by others is summed up anew."""
        spans = {name: (span.start, span.least, span.most) for name, span in self.spans.items()}
        feelings = {cause: dict(deltas) for cause, deltas in self.feelings.items()}
        stages = [(stage.name, stage.affinity) for stage in self.stages]
        told = json.dumps([stages, spans, feelings, self.hysteresis, self.inertia], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Felt:
    """The user said something that felt like `emotion`, float32 [8], 0..1."""

    emotion: Floats


@dataclass(frozen=True, slots=True)
class Moved:
    """Something happened that adds `deltas`."""

    deltas: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Put:
    """Somebody set numbers to `values`."""

    values: Mapping[str, float]


Step = Felt | Moved | Put


@dataclass(frozen=True, slots=True)
class Standing:
    """How two stand with each other after `turns` exchanges. `mood` is float32 [8], `affinity` 0..100."""

    affinity: float
    stage: str
    mood: Floats
    turns: int
    variables: Mapping[str, float] = field(default_factory=dict)


def strangers(rules: Rules) -> Standing:
    """How two stand who have not met."""
    numbers = {name: span.start for name, span in rules.spans.items()}
    return _standing(numbers, "", np.zeros(len(EMOTIONS), np.float32), 0, rules)


def stepped(standing: Standing, step: Step, rules: Rules) -> Standing:
    """How they stand after one step. Only what was felt moves the mood and counts as an exchange."""
    before = {AFFINITY: standing.affinity, **standing.variables}
    numbers = {name: before.get(name, span.start) for name, span in rules.spans.items()}
    mood, turns, stage = standing.mood, standing.turns, standing.stage
    added: Mapping[str, float] = {}
    match step:
        case Felt(emotion):
            added = _added(emotion, rules)
            mood, turns = blend(mood, emotion, rules.inertia), turns + 1
        case Moved(deltas):
            added = deltas
        case Put(values):
            numbers |= {name: value for name, value in values.items() if name in numbers}
            # Who sets affinity means the stage that it names, not the one that would linger.
            stage = "" if AFFINITY in values else stage
    moved = {name: rules.spans[name].hold(value + added.get(name, 0.0)) for name, value in numbers.items()}
    return _standing(moved, stage, mood, turns, rules)


def replayed(base: Standing, steps: Iterable[Step], rules: Rules) -> Iterator[Standing]:
    """How they stood at `base` and after each step, in their order; the last one is how they stand."""
    return accumulate(steps, lambda standing, step: stepped(standing, step, rules), initial=base)


def stage_of(affinity: float, stages: Sequence[S], current: str, hysteresis: float = HYSTERESIS) -> S | None:
    """The stage for an affinity, given the one that holds now; None when there are no stages.

    Upwards at the threshold, downwards only `hysteresis` below it, so that a stage does not flicker.
    """
    ordered = sorted(stages, key=lambda stage: stage.affinity)
    reached = None
    for stage in ordered:
        slack = hysteresis if stage.name == current else 0.0
        if affinity >= stage.affinity - slack:
            reached = stage
    return reached or (ordered[0] if ordered else None)


def _added(emotion: Floats, rules: Rules) -> dict[str, float]:
    """What an exchange adds to each number, by what the user felt."""
    strength = {TURN: 1.0} | {name: float(value) for name, value in zip(EMOTIONS, emotion, strict=True)}
    return {
        name: sum(strength[cause] * deltas.get(name, 0.0) for cause, deltas in rules.feelings.items())
        for name in rules.spans
    }


def _standing(numbers: Mapping[str, float], current: str, mood: Floats, turns: int, rules: Rules) -> Standing:
    variables = dict(numbers)
    affinity = variables.pop(AFFINITY)
    stage = stage_of(affinity, rules.stages, current, rules.hysteresis)
    return Standing(affinity, stage.name if stage else "", mood, turns, variables)
