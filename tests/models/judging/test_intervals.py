"""Intervals cover the mean as often as they say, and know what hangs together."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from models.judging.intervals import difference, interval


def test_an_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).normal(5, 2, 80)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=2000, rng=1).confidence_interval
    ours = interval(values.tolist())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.08)
    assert ours.mean == pytest.approx(values.mean())
    assert interval(values.tolist()) == ours


def test_a_95_per_cent_interval_holds_the_truth_about_95_times_of_100() -> None:
    draws = np.random.default_rng(7).exponential(1.0, (200, 60))
    held = sum(found.low <= 1.0 <= found.high for found in (interval(row.tolist()) for row in draws))
    assert 175 <= held <= 200


def test_values_that_hang_together_make_a_wider_interval() -> None:
    values = [0.0] * 20 + [1.0] * 20
    groups = ["mara"] * 10 + ["anselm"] * 10 + ["zhen"] * 10 + ["sansan"] * 10
    alone, together = interval(values), interval(values, groups)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_one_group_alone_says_as_little_as_its_values_do() -> None:
    assert interval([1.0, 3.0], ["mara", "mara"])[:3] == (2.0, 1.0, 3.0)


def test_paired_differences_are_surer_than_the_means_they_lie_between() -> None:
    base = np.random.default_rng(5).normal(0, 10, 50)
    found = difference((base + 1).tolist(), base.tolist())
    assert found[:3] == pytest.approx((1.0, 1.0, 1.0))


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        interval([])
    with pytest.raises(ValueError):
        difference([1.0], [1.0, 2.0])
