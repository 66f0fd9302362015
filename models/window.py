"""Which messages of a conversation a prompt shows: as many as fit, cut in large steps, so that a prefix cache holds.

An engine's prefix cache serves a prompt up to its first byte that is new, so a history that loses a message a turn is
computed anew every turn. Here it loses a third to a half of its room at once and then stays as it is for many turns.

Nothing is remembered for that. A history may begin only at a mark, and which messages are marks follows from the
conversation alone: those that step over a multiple of so many bytes, counted from its root. So any process makes the
same cut, and whoever edits, swipes or forks keeps every mark before the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

BYTES = 4
"""Bytes of UTF-8 taken for a token where marks are set: 4.2 in English prose, 4 to 5 in Chinese with a vocabulary that
has Chinese. Only the distance of marks depends on it; what fits is told by exact counts."""


def size(text: str) -> int:
    """How far a message moves the marks, in bytes; never nothing."""
    return len(text.encode("utf-8", "replace")) + 1


def window_start(length: int, window: int) -> int:
    """The first of `length` messages within a window of that many, moved in steps of half a window."""
    step = max(2, window // 4 * 2)
    overflow = max(0, length - window)
    return min(length, -(-overflow // step) * step)


def cut(tokens: Sequence[int], sizes: Sequence[int], *, room: int, before: int = 0, share: int | None = None) -> int:
    """The first message that stays, of messages with `tokens` and `sizes`: the whole of them, or from a mark on.

    At most `room` tokens stay, but the newest message stays in any case. `before` is the size of what was said before
    the first message. Marks lie as far from each other as a third to a half of `share` tokens (by default of `room`),
    which is to be the same turn after turn; nearer only where none of them lets the end fit.
    """
    left = _left(tokens)
    if not tokens or left[0] <= room:
        return 0
    begins = list(accumulate(sizes, initial=before))
    step = _step(room if share is None else share)
    while step:
        for place in range(1, len(tokens)):
            if begins[place] // step > begins[place - 1] // step and left[place] <= room:
                return place
        step //= 2
    return len(tokens) - 1


def _left(tokens: Sequence[int]) -> list[int]:
    """Tokens from each message to the end."""
    return list(accumulate(reversed(tokens)))[::-1]


def _step(share: int) -> int:
    """Half of `share` in bytes, rounded down to two binary digits, so that a share that differs a little sets the same
    marks."""
    half = max(1, share * BYTES // 2)
    low = max(0, half.bit_length() - 2)
    return half >> low << low
