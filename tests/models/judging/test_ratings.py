"""Ratings are averaged over units, and raters are held against each other."""

from __future__ import annotations

import math

import pytest

from models.judging.ratings import Rating, agreements, means


def ratings(rater: str, *scores: float, dimension: str = "overall", system: str = "a") -> list[Rating]:
    return [Rating(str(unit), rater, dimension, score, system) for unit, score in enumerate(scores)]


def test_means_are_by_system_and_dimension() -> None:
    found = means([*ratings("ann", 1, 3), *ratings("bob", 3, 5), *ratings("ann", 2, 2, system="b")])
    assert found["a"]["overall"].mean == 3
    assert found["b"]["overall"][:3] == (2, 2, 2)


def test_two_raters_who_say_the_same_agree_and_opposites_do_not() -> None:
    same = agreements([*ratings("ann", 1, 3, 5), *ratings("bob", 1, 3, 5)])["overall"]
    assert (same.units, same.alpha, same.icc, same.kappa) == pytest.approx((3, 1, 1, 1))
    against = agreements([*ratings("ann", 1, 3, 5), *ratings("bob", 5, 3, 1)])["overall"]
    assert against.kappa == pytest.approx(-1)
    assert against.alpha < 0


def test_what_one_rater_left_out_counts_for_nobody_and_one_rater_agrees_with_nobody() -> None:
    found = agreements([*ratings("ann", 1, 3, 5, 2), *ratings("bob", 1, 3)])
    assert found["overall"].units == 2
    assert agreements(ratings("ann", 1, 2)) == {}


def test_scores_between_whole_numbers_have_no_kappa() -> None:
    found = agreements([*ratings("model", 1.5, 3.2, 4.8), *ratings("ann", 1, 3, 5)])["overall"]
    assert math.isnan(found.kappa)
    assert found.icc > 0.9
