"""The window over a conversation: it never holds too much, and moves seldom and in large steps."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.window import cut, size, window_start

Talk = list[tuple[int, int]]
MESSAGES = st.tuples(st.integers(1, 400), st.integers(1, 2000))
"""Tokens and bytes of a message, in any proportion."""
TALK = st.lists(MESSAGES, min_size=1, max_size=80)


@st.composite
def plain_talk(draw: st.DrawFn) -> tuple[Talk, int]:
    """A long talk in which a token has 3 to 5 bytes, as in what people write, and a room for at least some messages."""
    tokens = draw(st.lists(st.integers(5, 120), min_size=60, max_size=160))
    breadth = draw(st.floats(3, 5))
    return [(count, int(count * breadth)) for count in tokens], draw(st.integers(600, 4000))


def start(talk: Talk, room: int, before: int = 0, share: int | None = None) -> int:
    return cut([tokens for tokens, _ in talk], [size for _, size in talk], room=room, before=before, share=share)


@given(talk=TALK, room=st.integers(0, 6000), before=st.integers(0, 9000), share=st.integers(1, 6000))
def test_the_room_is_kept_to_and_the_newest_message_stays(talk: Talk, room: int, before: int, share: int) -> None:
    place = start(talk, room, before, share)
    assert 0 <= place < len(talk)
    assert sum(tokens for tokens, _ in talk[place:]) <= room or place == len(talk) - 1


@given(talk=TALK, before=st.integers(0, 9000), spare=st.integers(0, 100))
def test_what_fits_is_never_cut(talk: Talk, before: int, spare: int) -> None:
    assert start(talk, sum(tokens for tokens, _ in talk) + spare, before) == 0


@given(talk=TALK, room=st.integers(1, 6000))
def test_the_cut_never_moves_back_while_a_talk_goes_on(talk: Talk, room: int) -> None:
    places = [start(talk[:length], room) for length in range(1, len(talk) + 1)]
    assert places == sorted(places)


@given(plain_talk())
def test_the_cut_moves_once_for_a_third_of_the_room_at_most(drawn: tuple[Talk, int]) -> None:
    talk, room = drawn
    places = [start(talk[:length], room) for length in range(1, len(talk) + 1)]
    moves = sum(one != other for one, other in pairwise(places))
    assert moves <= sum(size for _, size in talk) / (4 * room / 3) + 1


@given(plain_talk())
def test_a_cut_leaves_a_third_of_the_room_filled(drawn: tuple[Talk, int]) -> None:
    talk, room = drawn
    place = start(talk, room)
    largest = max(tokens for tokens, _ in talk)
    assert place == 0 or sum(tokens for tokens, _ in talk[place:]) >= room / 3 - 2 * largest


@given(plain_talk(), st.integers(1, 100))
def test_what_is_left_out_before_the_messages_moves_no_cut(drawn: tuple[Talk, int], left: int) -> None:
    talk, room = drawn
    whole = start(talk, room)
    left = min(left, whole)
    rest = start(talk[left:], room, before=sum(size for _, size in talk[:left]))
    # One that was left out may have been a mark, and then the rest begins with it.
    assert left + rest == whole


@given(plain_talk(), st.integers(0, 40), st.data())
def test_who_changes_the_end_keeps_the_beginning(drawn: tuple[Talk, int], changed: int, data: st.DataObject) -> None:
    """Where more or less fits now, the cut is one that was before, or the next one."""
    talk, room = drawn
    other = [
        *talk[: len(talk) - changed],
        *data.draw(st.lists(st.tuples(st.integers(5, 120), st.just(200)), max_size=9)),
    ]
    marks = {start(talk[:length], room) for length in range(1, len(talk) + 1)}
    place = start(other, room)
    assert place in marks or place >= len(talk) - changed or place > max(marks)


def test_a_room_that_differs_a_little_cuts_in_the_same_place() -> None:
    talk = [(50, 200)] * 100
    assert {start(talk, 1000, share=share) for share in range(1000, 1020)} == {start(talk, 1000)}


def test_every_message_has_a_size() -> None:
    assert (size(""), size("ab"), size("晚晴"), size("\ud800")) == (1, 3, 7, 2)


@given(window=st.integers(4, 60), length=st.integers(0, 400))
def test_messages_leave_the_window_half_of_it_at_a_time(window: int, length: int) -> None:
    first = window_start(length, window)
    assert 0 <= length - first <= window
    assert window_start(length + 1, window) - first in (0, max(2, window // 4 * 2))
