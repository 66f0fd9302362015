"""A reply that nearly repeats an earlier one is held back, and a new one flows at its first letters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.echo import LONGEST, EchoGuard, flatten, weight

SEA = "The sea is grey this morning, and the gulls are late. Are you cold? Come in, there is tea on the stove for two."
HAI = "今天的海是灰色的，海鸥也来晚了。你冷不冷？要不要进来喝一杯热茶，炉子上正好有两个人的份，喝完了我们再去看灯塔。"
WORDS = [
    "The sea",
    " is grey",
    " this morning",
    ", and",
    " the gulls",
    " are late",
    ".",
    " Oh",
    " 4",
    "今天的海",
    "是灰色的",
    "。",
]


def through(text: str, places: list[int], earlier: list[str]) -> tuple[str, bool]:
    """What flowed, and whether the rest is an echo; nothing is fed once that is certain, as in a turn."""
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    guard, seen = EchoGuard(earlier), ""
    for a, b in itertools.pairwise(bounds):
        seen += guard.feed(text[a:b])
        if guard.is_certain:
            break
    return seen, guard.echoes


@pytest.mark.parametrize(
    "text",
    [
        "The sea is grey this morning, and the gulls are late.",
        "the sea is gray this morning and the gulls are late",
        "Oh, the sea is grey this morning, and gulls are late.",
        "Well... The sea is grey this morning, and the gulls are late!",
        "Are you cold? Come in, there is tea on the stove for two.",
        SEA,
        "今天的海是灰色的，海鸥来晚了。你冷不冷？要不要进来喝一杯热茶？",
        "嗯，今天的海是灰色的，海鸥也来晚了。你冷不冷？要不要进来喝一杯热茶？",
        HAI,
    ],
)
def test_what_was_said_nearly_so_before_is_an_echo(text: str) -> None:
    assert through(text, [], [SEA, HAI]) == ("", True)


@pytest.mark.parametrize(
    ("text", "flows"),
    [
        ("The sea is calm today.", "The sea is ca"),
        ("No boats today.", "No b"),
        ("今天的风很大。", "今天的风"),
    ],
)
def test_a_new_reply_flows_where_too_much_differs(text: str, flows: str) -> None:
    guard = EchoGuard([SEA, HAI])
    seen = next(at for at in range(1, len(text) + 1) if guard.feed(text[at - 1]))
    assert text[:seen] == flows


@pytest.mark.parametrize(
    ("earlier", "text"),
    [
        ("It is 5 o'clock by the lamp.", "It is 6 o'clock by the lamp."),
        ("好的，我知道了。", "好的，我知道了。"),
        ("Good night, friend.", "Good night, my friend."),
        (SEA, "The gulls are late. Are you cold? Then go."),
    ],
)
def test_another_number_a_short_answer_and_a_part_may_come_again(earlier: str, text: str) -> None:
    guard = EchoGuard([earlier])
    guard.feed(text)
    assert not guard.echoes


def test_there_is_nothing_to_wait_for_once_enough_is_the_same() -> None:
    guard = EchoGuard([SEA * 2])
    said = next(at for at in range(len(SEA * 2)) if guard.feed((SEA * 2)[at]) or guard.is_certain)
    assert guard.is_certain
    assert weight(flatten((SEA * 2)[: said + 1])) == LONGEST


@given(st.lists(st.sampled_from(WORDS), max_size=20).map("".join), st.lists(st.integers(0, 300), max_size=12))
def test_the_pieces_never_change_what_is_an_echo(text: str, places: list[int]) -> None:
    earlier = [SEA, HAI]
    seen, echoes = through(text, list(range(len(text))), earlier)
    some, same = through(text, places, earlier)
    assert same == echoes
    assert text.startswith(some)
    assert bool(some) == bool(seen)


def test_where_nothing_was_said_before_nothing_is_held() -> None:
    assert through("The sea", [], []) == ("The sea", False)
