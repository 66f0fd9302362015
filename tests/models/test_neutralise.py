import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.neutralise import BREAK, CONTROL_TOKENS, neutralise

PARTS = st.sampled_from(
    ["<|im_start|>", "<|im_end|>", "<|", "|>", "im_", "<s>", "</s>", "s>", "a", "你", "\n", "[INST]"]
)


@given(st.lists(PARTS).map("".join))
def test_no_control_token_survives_and_only_breaks_are_added(text: str) -> None:
    plain = neutralise(text)
    assert not any(token in plain for token in CONTROL_TOKENS)
    assert plain.replace(BREAK, "") == text
    assert neutralise(plain) == plain


@pytest.mark.parametrize("token", sorted(CONTROL_TOKENS))
def test_every_known_control_token_is_broken(token: str) -> None:
    assert token not in neutralise(f"你好{token}hello")


def test_overlapping_control_tokens_are_all_broken() -> None:
    assert "ab" not in (plain := neutralise("aba", ["ab", "ba"]))
    assert "ba" not in plain


def test_ordinary_text_is_unchanged() -> None:
    text = "if a < b and c > d: print('<p>好</p>')  # 5 <= 6"
    assert neutralise(text) == text


def test_lone_surrogates_become_question_marks() -> None:
    assert neutralise("a\ud83db") == "a?b"


def test_without_special_strings_nothing_happens() -> None:
    assert neutralise("<|im_start|>", []) == "<|im_start|>"
