"""What texts are searched by: words of two languages, and dates in one form."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.terms import MOST_CHARACTERS, date_terms, normal_forms, terms


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("Melanie's kids were running", ["melani", "kid", "run"]),
        ("I don’t think you're right", ["think", "right"]),
        ("好意思吗？", ["好意", "意思", "好意思"]),
        ("我的狗狗名字是Biscuit呢", ["狗狗", "名字", "biscuit"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("😀 … !!!", []),
        ("", []),
        ("1" * 5000 + "月", ["1" * 5000, "月"]),
        ("፩月", ["፩", "月"]),
    ],
)
def test_words_become_terms_of_either_language(text, forms):
    assert normal_forms(text) == forms


@pytest.mark.parametrize(
    "text",
    [
        *("8 May 2023", "May 8, 2023", "may 8th 2023", "the 8th of May 2023", "2023-05-08", "2023/5/8"),
        *("2023年5月8日", "2023年05月08号", "２０２３年５月８日"),
    ],
)
def test_a_date_is_the_same_however_it_is_written(text):
    assert sorted(normal_forms(text)) == ["#d8", "#m5", "2023"]
    assert set(terms(text).tolist()) == set(date_terms(date(2023, 5, 8)).tolist())


def test_may_and_march_are_words_until_they_look_like_months():
    assert normal_forms("you may march on") == ["march"]
    assert normal_forms("May I come in May?") == ["come", "#m5"]
    assert normal_forms("we met in March") == ["met", "#m3"]


def test_a_number_is_no_day_unless_a_month_stands_beside_it():
    assert normal_forms("12 people") == ["12", "peopl"]
    assert normal_forms("房间12号") == ["房间", "12"]


def test_terms_are_counted_as_often_as_they_are_said():
    once, thrice = terms("dog"), terms("dog, dogs! DOG")
    assert thrice.dtype == np.uint32
    assert thrice.tolist() == once.tolist() * 3


@given(st.text(st.characters(exclude_categories=[]), max_size=300))
def test_any_text_has_terms(text):
    found = terms(text)
    assert found.ndim == 1
    assert found.tolist() == terms(text).tolist()


def test_a_giant_text_is_read_to_its_limit():
    assert len(terms("dog " * 100_000)) == MOST_CHARACTERS // 4
