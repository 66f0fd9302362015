"""Which of a word's spellings vLLM leaves sayable, and what holds them back."""

import pytest

from models.bad_words import BANNED, held_back, spellings
from models.engine import ParameterRefused, Sampling

TOKENS = {
    "near": [1], " near": [2],
    "treasure": [3, 4], " treasure": [5],
    "Tortuga": [6, 7, 8], " Tortuga": [9, 8],
    "船长": [10, 11], " 船长": [12, 10, 11],
}  # fmt: skip


def test_a_word_has_two_spellings() -> None:
    assert spellings(["near", " 船长"]) == ["near", " near", "船长", " 船长"]


def test_what_vllm_bans_by_itself_is_left_to_it() -> None:
    words = Sampling(bad_words=("near", "船长"))
    assert held_back(words, TOKENS) == words


def test_a_spelling_that_vllm_forgets_is_banned_by_its_token() -> None:
    words = Sampling(bad_words=("treasure",), logit_bias=((5, 3.0), (9, 1.0)))
    assert held_back(words, TOKENS).logit_bias == ((5, BANNED), (9, 1.0))


def test_a_word_that_cannot_be_held_back_is_refused_by_name() -> None:
    with pytest.raises(ParameterRefused, match="Tortuga") as refused:
        held_back(Sampling(bad_words=("near", "Tortuga")), TOKENS)
    assert refused.value.param == "bad_words"
