"""Replies are cleaned while they stream, however the stream is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.reply import EchoGuard, ReplyFilter


def filtered(text: str, places: list[int]) -> tuple[str, str]:
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    reply = ReplyFilter(["Mara", "晚晴"])
    seen = "".join(reply.feed(text[a:b]) for a, b in itertools.pairwise(bounds))
    return seen + reply.end(), reply.hidden


@pytest.mark.parametrize(
    ("text", "visible", "hidden"),
    [
        ("Sit down.", "Sit down.", ""),
        ("  Mara: Sit down.", "Sit down.", ""),
        ("晚晴：坐吧。", "坐吧。", ""),
        ("<think>He is sad.</think>\nMara: Sit.", "Sit.", "He is sad."),
        ("Sit. <think>Hm.</think>Now.", "Sit. Now.", "Hm."),
        ("<think>It never ends", "", "It never ends"),
        ("a < b and <thin air>", "a < b and <thin air>", ""),
        ("Listen: the sea.", "Listen: the sea.", ""),
        ("晚晴", "晚晴", ""),
        ("", "", ""),
    ],
)
@given(places=st.lists(st.integers(0, 60), max_size=30))
def test_thoughts_and_the_name_are_taken_out_wherever_the_pieces_break(
    text: str, visible: str, hidden: str, places: list[int]
) -> None:
    assert filtered(text, places) == (visible, hidden)


@given(text=st.text(alphabet="ab<>think/: \n晚", max_size=60), places=st.lists(st.integers(0, 60), max_size=30))
def test_the_pieces_never_change_what_is_seen(text: str, places: list[int]) -> None:
    assert filtered(text, places) == filtered(text, [])


def test_an_echo_is_held_and_a_new_reply_flows_at_its_first_difference() -> None:
    guard = EchoGuard(["The sea is grey this morning."])
    assert guard.feed("The sea is ") == ""
    assert guard.feed("calm") == "The sea is calm"
    assert guard.feed(" today.") == " today."
    assert not guard.echoes
    echo = EchoGuard(["The sea is grey this morning."])
    assert echo.feed("the sea is grey, this morning") == ""
    assert echo.echoes
    assert not echo.is_certain
    longer = EchoGuard(["The sea is grey this morning."])
    longer.feed("The sea is grey this morning")
    assert longer.feed(". But warm.") == "The sea is grey this morning. But warm."


def test_a_short_answer_may_be_given_twice() -> None:
    guard = EchoGuard(["Yes."])
    assert guard.feed("Yes.") == "Yes."
    assert not guard.echoes


def test_the_middle_of_a_reply_keeps_its_first_space_and_a_name_that_is_said_in_it() -> None:
    for text in (" grey.", "Mara: a name like another.", "\n\nThen"):
        reply = ReplyFilter(["Mara"], begun=True)
        assert reply.feed(text) + reply.end() == text
