"""Divide examples into what is learnt from and what is kept aside, never through a group. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from models.example import Example


def divide(examples: Sequence[Example], share: float, seed: int | str = 0) -> tuple[list[Example], list[Example]]:
    """`examples` in two lists, the second with about `share` of the groups; both keep their order.

    Which group goes where follows from its name and `seed` alone, so that more rows move none of the others. Rows
    without a group are one each, known by what they say.
    """
    kept, aside = list[Example](), list[Example]()
    for example in examples:
        name = (
            example.group or example.scene.character + "\n" + example.scene.history[-1].content + "\n" + example.reply
        )
        number = int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode()).digest()[:8])
        (aside if number < share * 2**64 else kept).append(example)
    return (kept, aside) if kept else (aside, kept)
