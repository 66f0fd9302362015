"""Rows that give away what is to be learnt or tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from models.data.near import Index, bare, said
from models.example import Example

TELLING = 24
"""UTF-8 bytes, 8 Chinese characters or some 5 English words, below which a reply may stand anywhere by chance."""

KNOWN = 4096
"""Texts whose letters are kept at hand."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The reply of `row` stands in its own prompt, in the scene's `field`."""

    row: int
    field: str


@dataclass(frozen=True, slots=True)
class Crossing:
    """Rows of two files that are not to know each other: a `group` that is in both, or a repeat."""

    file: str
    other: str
    row: int
    of: int
    why: str


def shown(examples: Sequence[Example]) -> Iterator[Shown]:
    """Replies that their own prompt gives away: in lines, memories, lore, examples, persona, or earlier in the talk."""
    letters = lru_cache(KNOWN)(bare)  # a persona or a piece of lore stands in many rows
    for row, example in enumerate(examples):
        reply = bare(example.reply)
        if len(reply.encode()) >= TELLING:
            for field, text in _texts(example):
                if reply in letters(text):
                    yield Shown(row, field)
                    break


def crossings(files: Sequence[tuple[str, Sequence[Example]]]) -> Iterator[Crossing]:
    """Rows of a file that repeat rows of an earlier one, or belong to the same group; each row once."""
    index = Index()
    places: list[tuple[str, int]] = []
    groups: dict[str, tuple[str, int]] = {}
    for name, examples in files:
        for row, example in enumerate(examples):
            found = index.find(said(example)) if places else None
            group = groups.get(example.group, (name, row))
            if found:
                file, of = places[found[0]]
                yield Crossing(name, file, row, of, "the same words" if found[1] else "nearly the same words")
            elif group[0] != name:
                yield Crossing(name, group[0], row, group[1], f"the same group {example.group}")
        for row, example in enumerate(examples):
            index.add(said(example))
            places.append((name, row))
            if example.group:
                groups.setdefault(example.group, (name, row))


def _texts(example: Example) -> Iterator[tuple[str, str]]:
    scene = example.scene
    yield from (("lines", line) for line in scene.lines)
    yield from (("memories", memory) for memory in scene.memories)
    yield from (("lore", entry.text) for entry in scene.lore)
    for field in ("examples", "persona", "style", "scenario", "rules", "stage_persona", "passing", "note"):
        yield field, getattr(scene, field)
    yield from (("history", message.content) for message in scene.history)
