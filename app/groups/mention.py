"""Who of several is named in a text, in the order in which they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NO_WORDS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Letters of scripts that are written without spaces, or with endings stuck to names."""
_PARTS = re.compile(r"[\s·・‧,，.。()（）\"“”「」'’_-]+")
_HAN = re.compile(r"[\u4e00-\u9fff]{3}")
_NOT_NAMES = re.compile("(a|an|and|captain|da|de|del|der|di|du|el|la|le|lord|of|old|st|the|van|von|young)")
"""Words of names that call nobody by themselves. `SHORT` keeps out most others."""
SHORT = 2
"""A part of a name in letters has more characters than this, or anything would call it."""


def mentioned(text: str, names: Sequence[str]) -> list[int]:
    """Places in `names` of those whom a text names, by the whole name or a part that no other has; no one twice.

    A name in letters is looked for as a word, one in Chinese, Japanese or Korean anywhere, as these have no spaces
    between words. What a longer name holds is no mention of a shorter one.
    """
    folded = text.casefold()
    taken = [False] * len(folded)
    found: dict[int, int] = {}
    for call, who in sorted(_calls(names), key=lambda one: -len(one[0])):
        place = _find(folded, call, taken)
        while place >= 0:
            taken[place : place + len(call)] = [True] * len(call)
            found[who] = min(place, found.get(who, place))
            place = _find(folded, call, taken)
    return sorted(found, key=found.__getitem__)


def _calls(names: Sequence[str]) -> list[tuple[str, int]]:
    """What each may be called by; what two share calls neither, but a whole name always calls whose it is."""
    parts = [_parts(name.casefold().strip()) for name in names]
    calls = [(name.casefold().strip(), who) for who, name in enumerate(names) if name.strip()]
    whole = {call for call, _who in calls}
    for who, own in enumerate(parts):
        others = whole.union(*(set(other) for n, other in enumerate(parts) if n != who))
        calls += [(part, who) for part in own if part not in others]
    return calls


def _parts(name: str) -> list[str]:
    parts = [part for part in _PARTS.split(name) if part and part != name and not _NOT_NAMES.fullmatch(part)]
    parts = [part for part in parts if len(part) > (1 if _NO_WORDS.search(part) else SHORT)]
    # A full name of three characters is a family name of one and a given name.
    return [*parts, name[1:]] if _HAN.fullmatch(name) else parts


def _find(text: str, call: str, taken: Sequence[bool]) -> int:
    place = text.find(call)
    while place >= 0:
        end = place + len(call)
        if not any(taken[place:end]) and _is_word(text, place, end):
            return place
        place = text.find(call, place + 1)
    return -1


def _is_word(text: str, begin: int, end: int) -> bool:
    """Whether no word goes on at either end: letters against letters of the same kind of script."""
    before = begin > 0 and _joined(text[begin - 1], text[begin])
    return not before and not (end < len(text) and _joined(text[end - 1], text[end]))


def _joined(left: str, right: str) -> bool:
    return all((one.isalnum() or one == "_") and not _NO_WORDS.match(one) for one in (left, right))
