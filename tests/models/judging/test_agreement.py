"""Agreement between raters equals the values of the papers that define it."""

import math

import pytest

from models.judging.agreement import alpha, icc, kappa, weighted_kappa

N = None
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
"""Four observers, twelve units: the example of Krippendorff's "Computing Krippendorff's Alpha-Reliability" (2011)."""
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Six targets, four judges: table 2 of Shrout and Fleiss (1979)."""


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_that_of_krippendorffs_example(level: str, published: float) -> None:
    assert alpha(KRIPPENDORFF, level) == pytest.approx(published, abs=0.0006)  # type: ignore[arg-type]


def test_the_intraclass_correlation_is_that_of_shrout_and_fleiss() -> None:
    found = icc(SHROUT_FLEISS)
    assert found.single == pytest.approx(0.29, abs=0.005)
    assert found.average == pytest.approx(0.62, abs=0.005)


def test_kappa_is_that_of_a_hand_computed_table() -> None:
    # 20 times both yes, 15 both no, 5 and 10 apart: 0.7 agree, 0.5 would by chance.
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(one, other) == pytest.approx(0.4)


def test_a_step_that_nobody_used_still_lies_between_two_ratings() -> None:
    # Squared distances 0, 0, 1, 4 seen; by chance over ratings (1, 2, 4, 5) and (1, 2, 5, 3): their mean.
    one, other = [1, 2, 4, 5], [1, 2, 5, 3]
    seen = (0 + 0 + 1 + 4) / 4
    chance = sum((a - b) ** 2 for a in one for b in other) / 16
    assert weighted_kappa(one, other) == pytest.approx(1 - seen / chance)


def test_raters_who_never_vary_have_no_agreement_that_could_be_told_from_chance() -> None:
    assert math.isnan(kappa([1, 1], [1, 1]))
    assert math.isnan(alpha([[1, 1], [1, 1]]))
    assert math.isnan(alpha([[1, None], [None, 2]]))
    assert math.isnan(icc([[2, 2], [2, 2]]).single)


def test_ratings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        kappa([1, 2], [1])
    with pytest.raises(ValueError, match="two raters"):
        icc([[1], [2]])
