"""Replies are cleaned while they stream, however the stream is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.reply import ReplyFilter


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
        ("**Mara:** Sit.", "Sit.", ""),
        ("[晚晴]：坐。", "坐。", ""),
        ("Mara: Mara: is my name.", "Mara: is my name.", ""),
        ("[I must not show it.]\nMara: Sit.", "Sit.", "I must not show it."),
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


def test_the_middle_of_a_reply_keeps_its_first_space_and_a_name_that_is_said_in_it() -> None:
    for text in (" grey.", "Mara: a name like another.", "\n\nThen"):
        reply = ReplyFilter(["Mara"], begun=True)
        assert reply.feed(text) + reply.end() == text
