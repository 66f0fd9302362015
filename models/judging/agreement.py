"""How far raters agree: kappa for two, Krippendorff's alpha and the intraclass correlation for any number."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval"]
Ratings = NDArray[np.float64]


class Icc(NamedTuple):
    """Absolute agreement, two-way random effects: of a `single` rater, ICC(2,1), and of their `average`, ICC(2,k)."""

    single: float
    average: float


def kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """Cohen's kappa of two raters (1960), by scikit-learn; NaN where there is nothing to agree on by chance.

    That is so where both always say the same one thing. Raises ValueError where they rated differently many.
    """
    return _kappa(one, other, None)


def weighted_kappa(one: Sequence[int], other: Sequence[int]) -> float:
    """Cohen's kappa with quadratic weights (1968): a rating two steps off counts four times one that is one off.

    The steps are those between the ratings themselves, so a step that nobody used is still one.
    """
    return _kappa(one, other, "quadratic")


def alpha(ratings: Sequence[Sequence[float | None]], level: Level = "interval") -> float:
    """Krippendorff's alpha (2011) of `ratings` by rater and unit, None where a rater left one out.

    1 is perfect, 0 what chance gives. NaN where no unit has two ratings or all ratings are the same.
    """
    table = np.asarray([[math.nan if value is None else value for value in row] for row in ratings], np.float64)
    rated = [column[~np.isnan(column)] for column in table.T]
    units = [column for column in rated if len(column) > 1]
    values = np.unique(np.concatenate(units)) if units else np.empty(0)
    if len(values) < 2:
        return math.nan
    pairs = np.zeros((len(values), len(values)))
    for unit in units:
        counts = np.asarray([(unit == value).sum() for value in values], np.float64)
        pairs += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    totals = pairs.sum(axis=0)
    apart = _distances(values, totals, level)
    expected = (np.outer(totals, totals) * apart).sum() / (totals.sum() - 1)
    return float(1 - (pairs * apart).sum() / expected)


def icc(ratings: Sequence[Sequence[float]]) -> Icc:
    """Intraclass correlation of `ratings` by unit and rater, none missing (Shrout and Fleiss 1979, case 2).

    NaN where nothing varies. Raises ValueError with fewer than two units or raters.
    """
    table: Ratings = np.asarray(ratings, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError("An intraclass correlation needs two units and two raters at least, and no rating missing.")
    n, k = table.shape
    grand = table.mean()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    between = k * ((rows - grand) ** 2).sum() / (n - 1)
    raters = n * ((columns - grand) ** 2).sum() / (k - 1)
    error = ((table - rows[:, None] - columns + grand) ** 2).sum() / ((n - 1) * (k - 1))
    return Icc(
        _ratio(between - error, between + (k - 1) * error + k * (raters - error) / n),
        _ratio(between - error, between + (raters - error) / n),
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _distances(values: Ratings, totals: Ratings, level: Level) -> Ratings:
    """Squared differences between values, as the level of measurement has them."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "interval":
        return np.asarray((values[:, None] - values) ** 2)
    middle = np.cumsum(totals) - totals / 2
    return np.asarray((middle[:, None] - middle) ** 2)


def _kappa(one: Sequence[Hashable], other: Sequence[Hashable], weights: str | None) -> float:
    if len(one) != len(other) or not one:
        raise ValueError(f"Both raters must have rated the same units: {len(one)} and {len(other)} ratings.")
    from sklearn.metrics import cohen_kappa_score

    said: list[Hashable] = list(dict.fromkeys([*one, *other]))
    if len(said) < 2:
        return math.nan
    labels = said
    if weights:
        steps = [int(str(value)) for value in said]
        labels = list(range(min(steps), max(steps) + 1))
    return float(cohen_kappa_score(one, other, labels=labels, weights=weights))
