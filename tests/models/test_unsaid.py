"""Words that must not be said are not, however tokens spell them."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.unsaid import Spellings, Unsaid

PARTS = ["船", "长", "船长", "的船", "长大", "大", " ", "a", "好船长"]
TOKENS = [part.encode() for part in PARTS] + [bytes([byte]) for byte in range(256)]


@given(st.integers(0, 10_000), st.sampled_from([["船长"], ["长"], ["船长", "大"], ["a"]]))
def test_no_way_of_spelling_a_word_is_left_and_nothing_else_is_forbidden(seed: int, words: list[str]) -> None:
    draw, unsaid, said = random.Random(seed), Unsaid(words, Spellings([*TOKENS, None])), b""
    for _ in range(40):
        logits = np.zeros(len(TOKENS) + 1, np.float32)
        unsaid.mask(logits)
        for token, data in enumerate(TOKENS):
            completes = any(word.encode() in said + data for word in words)
            assert np.isinf(logits[token]) == completes
        token = draw.choice([place for place in range(len(TOKENS)) if np.isfinite(logits[place])])
        # Mostly the parts that a word is spelled of.
        token = draw.choice([place for place in range(len(PARTS)) if np.isfinite(logits[place])] or [token])
        said += TOKENS[token]
        unsaid.take(TOKENS[token])
    assert not any(word.encode() in said for word in words)
