"""How sure a mean is: bootstrap intervals, over groups where what is measured hangs together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
COVER = 95.0
"""Per cent of resampled means that lie between `low` and `high`."""


class Mean(NamedTuple):
    """A mean of `n` values and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float], groups: Sequence[Hashable] | None = None) -> Mean:
    """The mean with its percentile bootstrap interval (Efron 1979), the same in every run.

    With `groups`, one for each value, whole groups are drawn: questions of one role or family aren't independent. A
    single group has an interval as wide as the mean is unknown: from its lowest to its highest value.

    Raises:
        ValueError: there are no values, or not as many groups.
    """
    names = list(range(len(values))) if groups is None else list(groups)
    if not values or len(names) != len(values):
        raise ValueError("An interval needs at least one value, and a group for each where groups are given.")
    numbers = np.asarray(values, np.float64)
    sums, counts = _sums(numbers, names)
    mean = float(numbers.mean())
    if len(sums) == 1:
        return Mean(mean, float(numbers.min()), float(numbers.max()), len(values))
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [(100 - COVER) / 2, (100 + COVER) / 2])
    return Mean(mean, float(low), float(high), len(values))


def difference(ours: Sequence[float], theirs: Sequence[float], groups: Sequence[Hashable] | None = None) -> Mean:
    """By how much ours are higher, question by question; both answered the same ones in the same order.

    Raises ValueError where the numbers of values differ, or as `interval` does.
    """
    return interval([one - other for one, other in zip(ours, theirs, strict=True)], groups)


def _sums(values: NDArray[np.float64], names: Sequence[Hashable]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum and the number of values of each group."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    places = np.asarray([numbers[name] for name in names])
    sums, counts = np.zeros(len(numbers)), np.zeros(len(numbers))
    np.add.at(sums, places, values)
    np.add.at(counts, places, 1.0)
    return sums, counts
