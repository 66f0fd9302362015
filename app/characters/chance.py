"""Chance that can be repeated: the same seed gives the same choice. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

DICE = 100
SIDES = 1_000_000
_ROLL = re.compile(r"(?:(\d{1,3})?d)?(\d{1,7})(?:\s*([+-])\s*(\d{1,6}))?", re.IGNORECASE)


def choose(options: Sequence[str], seed: str) -> str | None:
    """One of `options`; None when there are none."""
    return options[_draw(seed, len(options))] if options and options != [""] else None


def roll(dice: str, seed: str) -> str | None:
    """The sum of `6`, `d6`, `2d6` or `2d6+1`; None for anything else, and beyond 100 dice of a million sides."""
    found = _ROLL.fullmatch(dice.strip())
    if not found:
        return None
    count, sides = int(found[1] or 1), int(found[2])
    if not (1 <= count <= DICE and 1 <= sides <= SIDES):
        return None
    total = sum(1 + _draw(f"{seed}\0{number}", sides) for number in range(count))
    return str(total + (int(found[4]) if found[3] == "+" else -int(found[4] or 0)))


def _draw(seed: str, below: int) -> int:
    digest = hashlib.blake2b(seed.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % below
