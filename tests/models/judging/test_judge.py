"""A judge's answer is read or counted as unreadable, never guessed."""

from __future__ import annotations

import pytest

from models.judging.judge import (
    finding_flaws,
    flagged,
    flagging,
    grade,
    grading,
    pairing,
    penalised,
    preferred,
    severities,
)
from models.judging.rubrics import CHARACTER_LLM, CHARACTEREVAL, CHARACTERGLM, COSER, ERRORS, Rubric
from models.scene import Language

FIVE, SEVEN = CHARACTERGLM[0], CHARACTER_LLM[0]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("She stays herself.\nScore: 4", 4),
        ("语气很像。\n分数：3", 3),
        ("**Score:** 5", 5),
        ("Score: 4\nScore: 4", 4),
        ("4", 4),
        ("4/5", 4),
        ("4分。", 4),
        ("Score: 4\n… or perhaps Score: 2", None),
        ("Score: 6", None),
        ("Score: 0", None),
        ("Score: 3.5", None),
        ("I liked 3 of the 4 lines.", None),
        ("A wonderful reply!", None),
        ("", None),
    ],
)
def test_a_score_is_what_was_said_to_be_one(text: str, score: int | None) -> None:
    assert grade(text, FIVE) == score


def test_a_score_may_go_as_far_as_its_scale() -> None:
    assert grade("Score: 7", SEVEN) == 7


def test_a_reply_wins_only_in_both_orders() -> None:
    assert preferred("Winner: A", "Winner: B") == "first"
    assert preferred("胜者：B", "胜者：A") == "second"
    assert preferred("Winner: A", "Winner: A") == "tie"
    assert preferred("Winner: tie", "Winner: B") == "tie"
    assert preferred("胜者：平", "胜者：平") == "tie"
    assert preferred("Winner: a tie", "**Winner:** Tie.") == "tie"
    assert preferred("胜者：A更像", "胜者：B。") == "first"
    assert preferred("Winner: A", "Both are fine") is None
    assert preferred("Winner: A", "Winner: an apple") is None
    assert preferred("Winner: A, no, Winner: B", "Winner: B") is None


def test_the_second_order_shows_the_replies_the_other_way_round() -> None:
    straight, swapped = pairing("en", "Mara", "", "", "one", "two")
    assert "[Reply A]\none\n\n[Reply B]\ntwo" in straight[0].content
    assert "[Reply A]\ntwo\n\n[Reply B]\none" in swapped[0].content


def test_a_verdict_is_yes_or_no_and_not_both() -> None:
    assert flagged("Verdict: yes") is True
    assert flagged("判断：否") is False
    assert flagged("Verdict: yes. Verdict: no.") is None
    assert flagged("Verdict: nothing") is None


def test_flaws_are_json_with_severities_in_range() -> None:
    assert severities('```json\n{"flaws": [{"what": "x", "severity": 2}, {"what": "y", "severity": 5}]}\n```') == [2, 5]
    assert severities('{"flaws": []}') == []
    for broken in (
        "none",
        '{"flaws": [{"severity": 9}]}',
        '{"flaws": [{"severity": true}]}',
        '{"flaws": {}}',
        "{}",
        "[1]",
    ):
        assert severities(broken) is None, broken


def test_cosers_score_is_that_of_its_formula() -> None:
    assert penalised([5, 3, 2], 10) == 100 - 50 + 15
    assert penalised([], 10) == 100
    assert penalised([5] * 30, 2) == 0


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("rubric", [*CHARACTEREVAL, *CHARACTERGLM, *CHARACTER_LLM, *ERRORS], ids=lambda r: r.name)
def test_every_dimension_is_told_with_its_scale_in_both_languages(rubric: Rubric, language: Language) -> None:
    (asked,) = grading(rubric, language, "Mara", "Keeps {a} lighthouse.", "User: {hi}", "{No}.")
    assert rubric.told(language) in asked.content
    assert str(rubric.high) in asked.content
    assert "Keeps {a} lighthouse." in asked.content
    assert rubric.told(language) in flagging(rubric, language, "", "", "", "")[0].content


def test_cosers_dimensions_are_told() -> None:
    for rubric in COSER:
        assert rubric.en in finding_flaws(rubric, "s", "p", "o", "x")[0].content
