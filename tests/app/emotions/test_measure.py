"""Scores against labels, checked by hand."""

import numpy as np
import pytest

from app.emotions.measure import by_script, calibration_error, scores, thresholds, thresholds_by_script
from retrieval.emotion import EMOTIONS


def columns(joy, fear=None):
    """Eight columns of which the others are zero."""
    table = np.zeros((len(joy), 8), np.float32)
    table[:, EMOTIONS.index("joy")] = joy
    if fear is not None:
        table[:, EMOTIONS.index("fear")] = fear
    return table


def test_the_threshold_is_where_f1_is_best():
    intensities = columns([0.9, 0.8, 0.6, 0.4, 0.1])
    # Yes down to 0.6 finds all three at the price of one wrong: F1 6/7; down to 0.9 one of three: 1/2.
    limits = thresholds(intensities, columns([1, 0, 1, 0, 0]).astype(bool))
    assert limits[EMOTIONS.index("joy")] == pytest.approx(0.6)
    assert limits[EMOTIONS.index("fear")] == 1.0


def test_equal_intensities_are_never_told_apart_by_a_threshold():
    intensities = columns([0.5, 0.5, 0.5, 0.2])
    (limit, *_) = thresholds(intensities, columns([1, 0, 0, 0]).astype(bool))
    assert limit == pytest.approx(0.5)


def test_macro_f1_is_the_mean_over_the_dimensions_that_occur():
    felt = columns([1, 1, 0, 0], [0, 0, 1, 0]).astype(bool)
    intensities = columns([0.9, 0.1, 0.9, 0.0], [0.0, 0.0, 0.9, 0.0])
    measured = scores(intensities, felt, np.full((4, 8), 0.5, np.float32))
    assert measured["joy"] == pytest.approx(0.5)
    assert measured["fear"] == pytest.approx(1)
    assert measured["macro_f1"] == pytest.approx(0.75)
    assert set(measured) & set(EMOTIONS) == {"joy", "fear"}


def test_flat_texts_are_counted_among_neutral_and_among_emotional_ones():
    felt = columns([1, 1, 0, 0, 0]).astype(bool)
    intensities = columns([0.5, 0.05, 0.2, 0.01, 0.0999])
    measured = scores(intensities, felt, np.full((5, 8), 0.5, np.float32))
    assert measured["flat_neutral"] == pytest.approx(2 / 3)
    assert measured["flat_emotional"] == pytest.approx(1 / 2)


def test_what_no_text_can_tell_is_not_measured():
    nothing = np.zeros((2, 8), bool)
    measured = scores(columns([0.5, 0.0]), nothing, np.full((2, 8), 0.5, np.float32))
    assert (measured["macro_f1"], measured["flat_neutral"], measured["flat_emotional"]) == (None, 0.5, None)


def test_intensities_that_hold_as_often_as_they_say_have_no_calibration_error():
    felt = np.zeros((4, 8), bool)
    felt[:3] = True
    assert calibration_error(np.full((4, 8), 0.75, np.float32), felt) == pytest.approx(0)
    assert calibration_error(np.full((4, 8), 0.25, np.float32), felt) == pytest.approx(0.5)
    assert calibration_error(np.ones((4, 8), np.float32), felt) == pytest.approx(0.25)


def test_texts_of_another_script_have_thresholds_of_their_own():
    table = thresholds_by_script(["好", "fine"], columns([0.2, 0.7]), columns([1, 1]).astype(bool))
    assert by_script(["ok", "行"], table)[:, 0] == pytest.approx([0.7, 0.2])
