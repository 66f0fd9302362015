from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.characters.macros import fill_names


@pytest.mark.parametrize("spelling", ["{{char}}", "{{Char}}", "{{CHAR}}", "{{ char }}", "<BOT>", "<bot>", "<char>"])
def test_every_spelling_of_the_character_is_filled_in(spelling: str) -> None:
    assert fill_names(f"我是{spelling}。", "柴米", "来客") == "我是柴米。"


@pytest.mark.parametrize("spelling", ["{{user}}", "{{User}}", "{{  USER }}", "<USER>", "<user>"])
def test_every_spelling_of_the_user_is_filled_in(spelling: str) -> None:
    assert fill_names(f"{spelling}, {spelling}!", "Mira", "Ana") == "Ana, Ana!"


def test_a_name_that_looks_like_a_placeholder_is_not_expanded_again() -> None:
    assert fill_names("{{char}} meets {{user}}", "{{user}}", "{{char}}") == "{{user}} meets {{char}}"
    assert fill_names("<bot><user>", "<user>", "<bot>") == "<user><bot>"


def test_a_name_with_backslashes_and_groups_is_put_in_as_it_is() -> None:
    assert fill_names("{{char}} {{user}}", r"\1\g<0>", r"\n\\") == r"\1\g<0> \n\\"


@pytest.mark.parametrize(
    "text", ["", "{char}", "{{chars}}", "{{char", "<bots>", "{{random:a,b}}", "{{use r}}", "%s {0}"]
)
def test_everything_else_stays(text: str) -> None:
    assert fill_names(text, "Mira", "Ana") == text


@given(
    st.lists(st.sampled_from(["{{char}}", "{{user}}", "{", "}", "{{", "<", "user", "x"])).map("".join),
    st.text(),
    st.text(),
)
def test_no_placeholder_is_left_and_none_is_made_up(text: str, char: str, user: str) -> None:
    marked = fill_names(text, "\ue000", "\ue001")
    assert "{{char}}" not in marked
    assert "{{user}}" not in marked
    assert fill_names(text, char, user) == "".join({"\ue000": char, "\ue001": user}.get(c, c) for c in marked)
