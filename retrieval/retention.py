"""Forgetting: how much of a memory is left."""

from __future__ import annotations

import math

DAY = 86_400.0


def strength(uses: int) -> float:
    """How well a memory holds: 1 when never recalled, then growing with the logarithm of its uses, never eternal."""
    return 1.0 + math.log1p(max(0, uses))


def retention(age_seconds: float, uses: int, tau_seconds: float = 30 * DAY) -> float:
    """exp(-age / (tau x strength)), 1 to 0: Ebbinghaus's curve as MemoryBank (arXiv 2305.10250) means it.

    Its published code divides by tau only and multiplies by strength, so that there strong memories fade faster. An age
    below 0 (clocks differ) counts as 0. Raises ValueError unless tau is positive.
    """
    if tau_seconds <= 0:
        raise ValueError(f"tau must be positive, not {tau_seconds}")
    return math.exp(-max(0.0, age_seconds) / (tau_seconds * strength(uses)))
