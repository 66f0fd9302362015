"""Forgetting: how much of memories is left, one by one or many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

DAY = 86_400.0


def strength(uses: ArrayLike) -> Numbers:
    """How well memories hold: 1 when never recalled, then growing with the logarithm of its uses, never eternal."""
    held: Numbers = 1.0 + np.log1p(np.maximum(0, uses))
    return held


def retention(age_seconds: ArrayLike, uses: ArrayLike, tau_seconds: float = 30 * DAY) -> Numbers:
    """exp(-age / (tau x strength)), 1 to 0: Ebbinghaus's curve as MemoryBank (arXiv 2305.10250) means it.

    Its published code divides by tau only and multiplies by strength, so that there strong memories fade faster. An age
    below 0 (clocks differ) counts as 0. Raises ValueError unless tau is positive.
    """
    if tau_seconds <= 0:
        raise ValueError(f"tau must be positive, not {tau_seconds}")
    left: Numbers = np.exp(-np.maximum(0.0, age_seconds) / (tau_seconds * strength(uses)))
    return left
