"""Fitting ranked texts into a token budget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def pack(ranked: Iterable[tuple[T, int]], budget: int) -> tuple[T, ...]:
    """The items that fit, in rank order, of pairs (item, its tokens with what separates it from the next).

    Best first; one that does not fit is passed over, not the end, so a long first item does not waste the budget.
    Raises ValueError for a negative count of tokens.
    """
    kept = []
    left = budget
    for item, tokens in ranked:
        if tokens < 0:
            raise ValueError(f"an item can't take {tokens} tokens")
        if tokens <= left:
            kept.append(item)
            left -= tokens
    return tuple(kept)
