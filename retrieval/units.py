"""Dialogue units: scenes of a script, cut so that what a character says can be found by what was said before it.

After Index-1.9B's role play (bilibili/Index-1.9B, roleplay/src: retrieve_dialog, get_dataset). A unit is searched by
its key, the turns before the answer with all speakers but the character made anonymous, because whoever talks to the
character now is not who talked to it in the script.

Everywhere `roles` is the character's name or names. Names are compared whole, so 三三 is not 三三博士.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

_MIN_CHARACTERS = 10
_MIN_WORDS = 4
_MIN_UNITS = 20
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class Turn:
    """One speaker's text, once."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Unit:
    """A piece of dialogue that ends with the character's answer. `dialogue` is `context` and then `answer`."""

    key: str
    context: tuple[Turn, ...]
    answer: tuple[Turn, ...]

    @property
    def dialogue(self) -> tuple[Turn, ...]:
        """All turns, with the names they had, as a prompt shows them."""
        return self.context + self.answer


def unit(dialogue: Sequence[Turn], roles: str | Collection[str]) -> Unit | None:
    """One whole dialogue as a unit, as Index does it: cut after the character's last turn, which is the answer.

    None when the character never speaks. A dialogue of one turn has that turn as its key.
    """
    names = _names(roles)
    last = max((n for n, turn in enumerate(dialogue) if turn.speaker in names), default=None)
    return None if last is None else _unit(tuple(dialogue[:last]), (dialogue[last],), names)


def units(dialogues: Iterable[Sequence[Turn]], roles: str | Collection[str], context: int = 6) -> tuple[Unit, ...]:
    """Units of many scenes: one for each time the character speaks, with up to `context` turns before it.

    Turns the character speaks in a row are one answer. Repeats of key and answer are dropped, and only `telling` units
    are kept. Raises ValueError when `context` is negative.
    """
    if context < 0:
        raise ValueError(f"context must be 0 turns or more, not {context}")
    names = _names(roles)
    cut: dict[tuple[str, tuple[Turn, ...]], Unit] = {}
    for dialogue in dialogues:
        for found in _cut(tuple(dialogue), names, context):
            cut.setdefault((found.key, found.answer), found)
    return telling(cut.values(), names)


def telling(found: Iterable[Unit], roles: str | Collection[str]) -> tuple[Unit, ...]:
    """The units that show how the character talks, or all of them when fewer than 20 do.

    A unit is left out when what the character says in it has less than 10 characters in the mean (4 words where it uses
    no Chinese characters). 10 and 20 are Index's numbers; 20 is how many it retrieves.
    """
    names = _names(roles)
    every = tuple(found)
    long = tuple(piece for piece in every if not _is_short(piece, names))
    return long if len(long) >= _MIN_UNITS else every


def query_key(history: Sequence[Turn], roles: str | Collection[str], context: int = 6) -> str:
    """What to search for while a conversation runs: its last `context` turns in the form of a unit's key."""
    return _key(history[-context:] if context else (), _names(roles))


def _names(roles: str | Collection[str]) -> frozenset[str]:
    # A bare string is a collection of its characters, and "in" would look for parts of it.
    return frozenset({roles} if isinstance(roles, str) else roles)


def _cut(dialogue: tuple[Turn, ...], roles: frozenset[str], context: int) -> Iterator[Unit]:
    for start, turn in enumerate(dialogue):
        if turn.speaker not in roles or (start and dialogue[start - 1].speaker in roles):
            continue
        answer = tuple(takewhile(lambda said: said.speaker in roles, dialogue[start:]))
        yield _unit(dialogue[max(0, start - context) : start], answer, roles)


def _unit(context: tuple[Turn, ...], answer: tuple[Turn, ...], roles: frozenset[str]) -> Unit:
    return Unit(_key(context or answer, roles), context, answer)


def _key(turns: Sequence[Turn], roles: frozenset[str]) -> str:
    others: dict[str, str] = {}
    lines = []
    for turn in turns:
        name = turn.speaker
        if name not in roles:
            name = others.setdefault(name, f"user{len(others)}")
        # A turn is a line, so a line break in its text can't pass for another speaker.
        lines.append(f"{name}: {' '.join(turn.text.split())}")
    return "\n".join(lines)


def _is_short(found: Unit, roles: frozenset[str]) -> bool:
    said = [turn.text for turn in found.dialogue if turn.speaker in roles]
    if any(_HAN.search(text) for text in said):
        return sum(map(len, said)) < _MIN_CHARACTERS * len(said)
    return sum(len(text.split()) for text in said) < _MIN_WORDS * len(said)
