"""How a conversation moves the bond. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, TypeVar

import numpy as np

from app.tables import Floats
from retrieval.emotion import EMOTIONS, blend

LOWEST, HIGHEST = 0.0, 100.0
HYSTERESIS = 5.0
"""A stage once reached is left only when affinity falls this far below its threshold."""
SHOWING_UP = 0.5
"""What an exchange adds by itself: people who keep talking grow closer."""
INERTIA = 0.6
"""The share of the mood that stays from one turn to the next."""
WARMTH = (3.0, 3.0, 0.5, 0.5, 0.5, -3.0, -3.0, 1.0)
"""Points per unit of joy, acceptance, fear, surprise, sadness, disgust, anger, anticipation in what the user said.
Confiding fear or sadness brings people a little closer; anger and disgust push them apart."""


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
class Standing:
    """How two stand with each other after `turns` exchanges. `mood` is float32 [8], `affinity` 0..100."""

    affinity: float
    stage: str
    mood: Floats
    turns: int


def strangers() -> Standing:
    """How two stand who have not met."""
    return Standing(LOWEST, "", np.zeros(len(EMOTIONS), np.float32), 0)


def stepped(standing: Standing, emotion: Floats, stages: Sequence[Stage]) -> Standing:
    """How they stand after the user said something that felt like `emotion` (float32 [8], 0..1)."""
    affinity = moved(standing.affinity, emotion)
    stage = stage_of(affinity, stages, standing.stage)
    mood = blend(standing.mood, emotion, INERTIA)
    return Standing(affinity, stage.name if stage else "", mood, standing.turns + 1)


def replayed(base: Standing, emotions: Iterable[Floats], stages: Sequence[Stage]) -> Standing:
    """How they stand after all that was said, in its order: the fold of `stepped`."""
    return reduce(lambda standing, emotion: stepped(standing, emotion, stages), emotions, base)


def moved(affinity: float, emotion: Floats) -> float:
    """Affinity (0..100) after the user said something that felt like `emotion` (float32 [8], 0..1)."""
    delta = SHOWING_UP + sum(weight * float(value) for weight, value in zip(WARMTH, emotion, strict=True))
    return min(HIGHEST, max(LOWEST, affinity + delta))


def stage_of(affinity: float, stages: Sequence[S], current: str) -> S | None:
    """The stage for an affinity, given the one that holds now; None when there are no stages.

    Upwards at the threshold, downwards only `HYSTERESIS` below it, so that a stage does not flicker.
    """
    ordered = sorted(stages, key=lambda stage: stage.affinity)
    reached = None
    for stage in ordered:
        slack = HYSTERESIS if stage.name == current else 0.0
        if affinity >= stage.affinity - slack:
            reached = stage
    return reached or (ordered[0] if ordered else None)
