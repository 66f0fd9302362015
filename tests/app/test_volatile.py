"""Texts with placeholders that change from turn to turn are told late."""

from __future__ import annotations

import pytest

from app.characters.volatile import apart


@pytest.mark.parametrize(
    "text",
    [
        "{{time}}",
        "It is {{ Time }} now.",
        "今天是{{weekday}}。",
        "{{time_UTC+8}}",
        "Wears {{random:red,blue}}.",
        "{{random::red::blue}}",
        "{{roll:d6}}",
        "{{roll d6}}",
        "{{idle_duration}}",
        "{{lastUserMessage}}",
        "{{getvar::mood}}",
        "{{datetimeformat DD.MM.YYYY}}",
    ],
)
def test_what_changes_is_apart(text: str) -> None:
    assert apart(f"One.\n{text}\nTwo.") == ("One.\nTwo.", text)


@pytest.mark.parametrize(
    "text", ["", "{{char}} likes {{user}}.", "{{pick:a,b}}", "{{timer}}", "{{// time}}", "It is time.", "{{", "}}\n{{"]
)
def test_what_stays_the_same_is_left_where_it_is(text: str) -> None:
    assert apart(text) == (text, "")


def test_a_placeholder_over_several_lines_goes_as_one() -> None:
    assert apart("A {{random:\nred,\nblue}} hat.\nTwo.\n\nThree.") == (
        "Two.\n\nThree.",
        "A {{random:\nred,\nblue}} hat.",
    )
