"""Dividing rows: never through a group or a repeat, and always alike."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.split import apart, divide
from models.example import Example
from models.scene import Message, Scene

LONG = "The ferry leaves at nine, and whoever is late may swim to the island behind it."
ZH = "渡船九点开，迟到的人只好跟在后面游到对面的岛上去了，我可不会等任何人。"


def _row(group: str, said: str = "") -> Example:
    """A row of a group, which says what no other group does."""
    words = said or hashlib.sha256(group.encode()).hexdigest()
    return Example(Scene("Ana", "en", "", history=(Message("user", words),)), "Hello.", group=group)


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1), st.floats(0, 0.99), st.integers(0, 9))
def test_no_group_is_divided_and_no_row_is_lost(groups, share, seed):
    rows = [_row(group) for group in groups]

    kept, aside = divide(rows, share, seed)

    assert sorted(row.group for row in (*kept, *aside)) == sorted(groups)
    assert not {row.group for row in kept} & {row.group for row in aside}
    assert kept


def test_more_rows_move_none_of_the_others():
    few, many = [_row(str(n)) for n in range(50)], [_row(str(n)) for n in range(500)]

    aside = {row.group for row in divide(few, 0.2)[1]}

    assert aside == {row.group for row in divide(many, 0.2)[1] if int(row.group) < 50}
    assert 0.1 < len(divide(many, 0.2)[1]) / 500 < 0.3


def test_rows_without_a_group_are_known_by_what_they_say():
    rows = [_row("", f"Hi {n % 10}") for n in range(100)]

    kept, aside = divide(rows, 0.3)

    assert {row.scene.history for row in kept}.isdisjoint(row.scene.history for row in aside)


def test_repeats_tie_groups_together():
    rows = [_row("1", "a" * 80), _row("1", LONG), _row("2", LONG.upper() + "!"), _row("", "d" * 80)]

    first, second, third, fourth = apart(rows)

    assert first == second == third == "1"
    assert fourth != first


@pytest.mark.parametrize("said", [LONG, ZH])
def test_rows_that_nearly_say_the_same_are_kept_aside_together(said: str):
    rows = [_row(str(number), f"{said}{'!' * (number % 3)}") for number in range(30)]

    for seed in range(10):
        kept, aside = divide(rows, 0.5, seed)
        assert (len(kept), len(aside)) == (30, 0), "what repeats what was learnt is no test"
