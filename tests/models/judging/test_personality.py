"""A questionnaire is scored as InCharacter scores it, and an answer that can't be read is counted, not guessed."""

from __future__ import annotations

import math

import pytest

from models.judging.asking import Answer
from models.judging.personality import Choice, Label, Questionnaire, Statement, chosen, likeness, mean_mass


def statement(dimension: str, *, reverse: bool = False) -> Statement:
    return Statement("", "", "", "", dimension, reverse)


FORM = Questionnaire(
    "BFI", 1, 5, 1.0, 5.0, (statement("Openness"), statement("Openness", reverse=True), statement("Extraversion"))
)


def first(*options: tuple[str, float]) -> Answer:
    return Answer("3", first=tuple((text, math.log(share)) for text, share in options))


def test_options_are_weighed_by_their_probabilities() -> None:
    choice = chosen(first(("4", 0.3), (" 2", 0.1), ("I", 0.5), ("9", 0.1)), 1, 5)
    assert choice is not None
    assert choice.value == pytest.approx((4 * 0.3 + 2 * 0.1) / 0.4)
    assert choice.mass == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("said", "value"),
    [("4", 4), ("I'd say 4.", 4), ("我选2。", 2), ("5/5", 5), ("4 of 5", None), ("7", None), ("four", None)],
)
def test_without_probabilities_exactly_one_number_counts(said: str, value: int | None) -> None:
    choice = chosen(Answer(said), 1, 5)
    assert choice == (None if value is None else Choice(float(value), None))


def test_reversed_statements_count_the_other_way_round() -> None:
    assert FORM.score({0: 5.0, 1: 5.0, 2: 4.0}) == {"Openness": 3.0, "Extraversion": 4.0}
    percent = Questionnaire("16", 1, 7, 0.0, 100.0, (statement("E/I"), statement("E/I", reverse=True)))
    assert percent.score({0: 7.0, 1: 4.0}) == {"E/I": 75.0}


def test_likeness_leaves_out_divided_labels_and_counts_what_has_no_score_as_wrong() -> None:
    labels = {
        "mara": {"Openness": Label(4.0, "H"), "Extraversion": Label(2.0, "L")},
        "anselm": {"Openness": Label(3.0, "X"), "Extraversion": Label(1.0, "L")},
    }
    scores = {"mara": {"Openness": 5.0, "Extraversion": 3.5}, "anselm": {"Openness": 1.0}}
    found = likeness(FORM, scores, labels)
    assert found.roles == ("mara", "mara", "anselm")
    assert found.right == (1.0, 0.0, 0.0)
    assert found.full == (0.0, 0.0)
    assert found.absolute == pytest.approx((0.25, 0.375, 1.0))
    assert found.squared == pytest.approx((0.0625, 0.140625, 1.0))


def test_the_middle_itself_is_low() -> None:
    found = likeness(FORM, {"mara": {"Openness": 3.0}}, {"mara": {"Openness": Label(2.0, "L")}})
    assert (found.right, found.full) == ((1.0,), (1.0,))


def test_mass_is_told_only_where_an_engine_told_it() -> None:
    assert mean_mass([Choice(1, 0.2), None, Choice(2, 0.4)]) == pytest.approx(0.3)
    assert mean_mass([Choice(1, None)]) is None
