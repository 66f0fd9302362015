from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.memory.formation import exchange, importance

CALM = np.zeros(8, np.float32)
MOVED = np.array([0, 0, 0, 0, 1, 0, 0, 0], np.float32)


def test_an_exchange_is_two_trimmed_turns_with_their_names() -> None:
    assert exchange("Ana", "  My cat is Pickle.\n", "Mira", "\nNoted. ") == "Ana: My cat is Pickle.\nMira: Noted."
    assert exchange("来客", "你好", "柴米", "坐。") == "来客: 你好\n柴米: 坐。"


@pytest.mark.parametrize(
    "said",
    [
        "My name is Ana.",
        "I live near the harbour",
        "please REMEMBER this",
        "it's my birthday",
        "我叫小安",
        "记住我的话",
        "你答应过",
        "我住在海边",
    ],
)
def test_what_the_user_tells_of_themselves_matters(said: str) -> None:
    assert importance(said, CALM) >= 0.4


@pytest.mark.parametrize("said", ["Hm.", "嗯。", "The ferry leaves.", "army mystic", "风很大"])
def test_small_talk_matters_little(said: str) -> None:
    assert importance(said, CALM) < 0.1


@pytest.mark.parametrize(
    ("plain", "dated"), [("in a year", "in 1987"), ("那天见", "五月三日见"), ("see you", "see you at 5")]
)
def test_figures_and_dates_matter(plain: str, dated: str) -> None:
    assert importance(dated, CALM) > importance(plain, CALM) + 0.1


def test_feeling_strongly_and_saying_more_matter() -> None:
    assert importance("Hm.", MOVED) > importance("Hm.", CALM) + 0.25
    assert importance("so it goes " * 20, CALM) > importance("so it goes", CALM)


@given(
    st.lists(st.sampled_from(["my ", "生日", "1987", "三月", "x" * 90, "…"])).map("".join), st.floats(0, 1, width=32)
)
def test_importance_stays_between_nothing_and_one(said: str, felt: float) -> None:
    assert 0.0 <= importance(said, np.full(8, felt, np.float32)) <= 1.0
