"""Words that vLLM is to hold back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from models.engine import ParameterRefused, Sampling

BANNED = -100.0
"""The bias of a token that is never chosen."""


def spellings(words: Sequence[str]) -> list[str]:
    """The forms whose tokens `held_back` has to know: each word without and with a space before it."""
    return [form for word in words for form in (word.lstrip(), f" {word.lstrip()}")]


def held_back(sampling: Sampling, tokens: Mapping[str, Sequence[int]]) -> Sampling:
    """`sampling` with what vLLM needs to keep its `bad_words` unsaid; `tokens` are those of their spellings.

    vLLM bans a word as it stands at the beginning of a text, and with a space before it only where that takes as many
    tokens: with most vocabularies " treasure" is one token and "treasure" two, and in the middle of a sentence the word
    would be said. Such a token gets a bias instead. Raises `ParameterRefused` for a word that can't be held back.
    """
    bias = dict(sampling.logit_bias)
    for word in sampling.bad_words:
        plain, spaced = (list(tokens[form]) for form in spellings([word]))
        # The latter also holds for words without spaces between them: the plain form is banned after any token.
        if len(plain) == len(spaced) or spaced[-len(plain) :] == plain:
            continue
        if len(spaced) > 1:
            raise ParameterRefused(f"The language model's server can't hold back the word {word!r}.", "bad_words")
        bias[spaced[0]] = BANNED
    return replace(sampling, logit_bias=tuple(bias.items()))
