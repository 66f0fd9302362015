"""A reply that goes round in circles ends with a sentence, however it comes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.loops import LoopGuard

PARTS = [
    "I love you. ",
    "the sea ",
    "哈",
    "我爱你",
    "。",
    "\n",
    "2",
    " and so, ",
    "Hm! ",
    "The gulls are very late this year. ",
]


def through(text: str, places: list[int], before: str = "") -> tuple[str, bool]:
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    guard = LoopGuard(before)
    seen = "".join(guard.feed(text[a:b]) for a, b in itertools.pairwise(bounds))
    return seen + guard.end(), guard.looped


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Aye. " + "I will wait for you. " * 30, "Aye. I will wait for you. I will wait for you."),
        ("我会等你回来的。" * 30, "我会等你回来的。我会等你回来的。"),
        ('She said, "Go." ' * 30, 'She said, "Go." She said, "Go." She said, "Go."'),
        ("*他笑了笑，看着你。*" * 20, "*他笑了笑，看着你。*" * 2),
        (
            "Are you cold? Come in. There is tea. " * 9,
            "Are you cold? Come in. There is tea. " + "Are you cold? Come in. There is tea.",
        ),
        (
            "".join(f"{n}. Trim the lamp and wait.\n" for n in range(1, 40)),
            "1. Trim the lamp and wait.\n2. Trim the lamp and wait.\n",
        ),
        (
            "".join(
                f"The gulls are very late this year. So is number {word}. "
                for word in ("one", "two", "six", "ten", "five")
            ),
            "".join(
                f"The gulls are very late this year. So is number {word}. " for word in ("one", "two", "six")
            ).rstrip(),
        ),
    ],
)
def test_circles_end_with_a_sentence(text: str, seen: str) -> None:
    shown, looped = through(text, [])
    assert (shown.rstrip(), looped) == (seen.rstrip(), True)


@pytest.mark.parametrize("text", ["and the sea " * 50, "我爱你" * 60, "哈" * 200, "o" * 300, "ABCDEFGH" * 40])
def test_circles_without_sentences_end_too(text: str) -> None:
    shown, looped = through(text, [])
    assert looped
    assert len(shown) < 90
    assert text.startswith(shown)


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no, no, no! Hahahahahahaha. 哈哈哈哈哈哈哈哈哈。",
        "Never. Never. Never. Never. I mean it.",
        "走吧。走吧。走吧。我们走吧。",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ... " * 3,
        "- tea: 2\n- milk: 3\n- bread: 4\n- tea: 5\n",
        "..." * 50,
    ],
)
def test_what_only_sounds_like_circles_stays(text: str) -> None:
    assert through(text, []) == (text, False)


def test_what_the_reply_begins_with_counts() -> None:
    begun = "I will wait for you. " * 2
    assert through("I will wait for you. I will wait for you. I will wait", [], begun) == ("", True)


@given(st.lists(st.sampled_from(PARTS), max_size=30).map("".join), st.lists(st.integers(0, 400), max_size=12))
def test_where_circles_end_does_not_depend_on_the_pieces(text: str, places: list[int]) -> None:
    whole, looped = through(text, [])
    assert through(text, places) == (whole, looped)
    assert text.startswith(whole)
    assert looped or whole == text
