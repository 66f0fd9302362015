"""Whether a past dialogue gives away, or repeats, what another one says.

Index-1.9B leaves examples out of a training prompt that contain the target dialogue or are contained in it, and
examples that contain each other (bilibili/Index-1.9B, roleplay/src/get_dataset.py). Here white space, punctuation, case
and width of letters don't matter, and whole turns are compared where a text is too short to be telling.

A dialogue is the sequence of what was said, without the speakers' names: in another scene the same words are said by
somebody who is called something else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_UNSAID = re.compile(r"[\W_]+")
_TELLING_BYTES = 24
"""UTF-8 bytes, 8 Chinese characters or some 5 English words, below which a text may be part of anything by chance."""


def folded(text: str) -> str:
    """The letters and digits of `text` in one case and width; without white space, punctuation and symbols."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    said = _UNSAID.sub("", plain)
    # Letters that a symbol kept apart may compose now.
    return unicodedata.normalize("NFKC", said)


def shows(dialogue: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `part` is said somewhere in `dialogue`: turn by turn, or, when it is long enough, within a longer text.

    A past line whose answer the running history shows is of no more use. A part in which nothing is said is not shown.
    """
    return shown(fold(dialogue), fold(part))


def leaks(dialogue: Sequence[str], target: Sequence[str]) -> bool:
    """Whether one of the two shows the other. `target` is a dialogue with the answer that is to be found or learned."""
    one, other = fold(dialogue), fold(target)
    return shown(one, other) or shown(other, one)


def fold(dialogue: Sequence[str]) -> tuple[str, ...]:
    """The turns of a dialogue, each `folded`; those in which nothing is said are left out."""
    # A lone string is a sequence too, of its characters.
    if isinstance(dialogue, str):
        raise TypeError("a dialogue is a sequence of texts, not one text")
    return tuple(turn for turn in map(folded, dialogue) if turn)


def shown(whole: Sequence[str], part: Sequence[str]) -> bool:
    """`shows` for dialogues that are folded already, for those who ask about many parts."""
    if not part:
        return False
    said = "".join(part)
    if len(said.encode()) >= _TELLING_BYTES and said in "".join(whole):
        return True
    return any(tuple(whole[n : n + len(part)]) == tuple(part) for n in range(len(whole) - len(part) + 1))
