"""How much of one text another one has, letter by letter."""

from __future__ import annotations

from collections import defaultdict


def rouge_l(found: str, wanted: str) -> float:
    """ROUGE-L F1 over characters, 0 to 1: twice the longest common subsequence over both lengths (Lin 2004).

    Nothing and nothing have 0 in common. Fold the texts first, so that punctuation does not count.
    """
    total = len(found) + len(wanted)
    return 2 * _common(found, wanted) / total if total else 0.0


def _common(one: str, other: str) -> int:
    """Length of the longest common subsequence, a whole row of the table in one integer (Hyyrö 2004)."""
    places: defaultdict[str, int] = defaultdict(int)
    for place, letter in enumerate(one):
        places[letter] |= 1 << place
    full = (1 << len(one)) - 1
    row = full
    for letter in other:
        matched = row & places[letter]
        row = ((row + matched) | (row - matched)) & full
    return len(one) - row.bit_count()
