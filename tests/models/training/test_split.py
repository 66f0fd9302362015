"""Dividing rows: never through a group, and always alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.example import Example
from models.scene import Message, Scene
from models.training.split import divide


def _row(group: str, said: str = "Hi") -> Example:
    return Example(Scene("Ana", "en", "", history=(Message("user", said),)), "Hello.", group=group)


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
