"""Ratings by people, judges or reward models: their means, and how far raters agree. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from models.judging.agreement import alpha, icc, weighted_kappa
from models.judging.intervals import Mean, interval


@dataclass(frozen=True, slots=True)
class Rating:
    """What `rater` gave the unit `id` in one dimension; `system` is whose reply or talk it is."""

    id: str
    rater: str
    dimension: str
    score: float
    system: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Between all raters of a dimension, over the units that two at least have rated.

    `icc` is ICC(2,1) over the units that all have rated; `kappa` the mean over pairs of raters of the kappa with
    quadratic weights, where scores are whole numbers. NaN where it can't be computed.
    """

    units: int
    alpha: float
    icc: float
    kappa: float


def means(ratings: Iterable[Rating]) -> dict[str, dict[str, Mean]]:
    """By system and dimension, over units: raters of one unit are no independent witnesses."""
    found: dict[tuple[str, str], list[Rating]] = defaultdict(list)
    for rating in ratings:
        found[rating.system, rating.dimension].append(rating)
    told: dict[str, dict[str, Mean]] = defaultdict(dict)
    for (system, dimension), given in found.items():
        told[system][dimension] = interval([one.score for one in given], [one.id for one in given])
    return dict(told)


def agreements(ratings: Iterable[Rating]) -> dict[str, Agreement]:
    """By dimension, of all where two raters at least have rated."""
    found: dict[str, dict[str, dict[tuple[str, str], float]]] = defaultdict(lambda: defaultdict(dict))
    for one in ratings:
        found[one.dimension][one.rater][one.system, one.id] = one.score
    return {name: _agreement(list(raters.values())) for name, raters in found.items() if len(raters) > 1}


def _agreement(raters: Sequence[dict[tuple[str, str], float]]) -> Agreement:
    units = sorted({unit for rater in raters for unit in rater})
    table = [[rater.get(unit) for unit in units] for rater in raters]
    shared = sum(sum(row[place] is not None for row in table) > 1 for place in range(len(units)))
    whole = [[rater[unit] for rater in raters] for unit in units if all(unit in rater for rater in raters)]
    single = icc(whole).single if len(whole) > 1 else math.nan
    kappas = [found for one, other in combinations(raters, 2) if not math.isnan(found := _kappa(one, other))]
    return Agreement(shared, alpha(table), single, sum(kappas) / len(kappas) if kappas else math.nan)


def _kappa(one: dict[tuple[str, str], float], other: dict[tuple[str, str], float]) -> float:
    both = sorted(set(one) & set(other))
    if not both or not all(float(rater[unit]).is_integer() for rater in (one, other) for unit in both):
        return math.nan
    return weighted_kappa([int(one[unit]) for unit in both], [int(other[unit]) for unit in both])
