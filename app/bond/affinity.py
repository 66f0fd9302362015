"""How a conversation moves the bond. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from app.tables import Floats

LOWEST, HIGHEST = 0.0, 100.0
HYSTERESIS = 5.0
"""A stage once reached is left only when affinity falls this far below its threshold."""
SHOWING_UP = 0.5
"""What an exchange adds by itself: people who keep talking grow closer."""
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
