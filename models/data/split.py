"""Divide rows into what is learnt from and what is kept aside, never through a group or a repeat. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from models.data.near import repeats, said
from models.example import Example


def divide(examples: Sequence[Example], share: float, seed: int | str = 0) -> tuple[list[Example], list[Example]]:
    """`examples` in two lists, the second with about `share` of what `apart` names; both keep their order.

    Which rows go where follows from that name and `seed` alone, so that more rows move none of the others. The first
    list is empty only where there are no rows.
    """
    kept, aside = list[Example](), list[Example]()
    for example, name in zip(examples, apart(examples) if share else [""] * len(examples), strict=True):
        number = int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode()).digest()[:8])
        (aside if number < share * 2**64 else kept).append(example)
    return (kept, aside) if kept else (aside, kept)


def apart(examples: Sequence[Example]) -> list[str]:
    """A name for each row; rows of one group share it, and rows that repeat each other, through any number of steps."""
    above = list(range(len(examples)))

    def top(row: int) -> int:
        while above[row] != row:
            above[row] = above[above[row]]
            row = above[row]
        return row

    groups: dict[str, int] = {}
    for row, example in enumerate(examples):
        if example.group:
            above[top(row)] = top(groups.setdefault(example.group, row))
    for found in repeats(examples):
        above[top(found.row)] = top(found.of)
    # The first row's own name, which does not move when others are added behind.
    return [examples[top(row)].group or said(examples[top(row)]) for row in range(len(examples))]
