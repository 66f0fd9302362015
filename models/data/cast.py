"""Talks that were written for training: a cast of characters, each with scenes of its own. Pure.

A cast is JSON: a list of characters with `character`, `persona`, `style`, and `scenes`, each a list of what the user
and the character say by turns, the user first. Where two have one name, `slug` tells them apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.example import Example
from models.scene import Language, Message, Scene

SHOWN = (0, 2, 3, 4)
"""How many past lines a row shows, by chance: with and without, for a server may find none."""


def read_cast(content: Any, language: Language, *, seed: int = 0) -> Iterator[Example]:
    """A row for each scene, with scenes of the same character as its past lines, never the row's own.

    Raises ValueError, which names the character and scene, for what is no cast.
    """
    if not isinstance(content, list):
        raise ValueError("a cast is a JSON list of characters.")
    for character in content:
        yield from _rows(character, language, seed)


def _rows(character: Mapping[str, Any], language: Language, seed: int) -> Iterator[Example]:
    if not isinstance(character, Mapping) or not str(character.get("character") or ""):
        raise ValueError("every character of a cast has a name, `character`.")
    name = str(character["character"])
    scenes = character.get("scenes")
    if not isinstance(scenes, list):
        raise ValueError(f"{name} has no list of `scenes`.")
    chance = random.Random(f"{seed}\n{name}")
    for number, said in enumerate(scenes):
        if not isinstance(said, list) or len(said) < 2 or len(said) % 2 or not all(isinstance(t, str) for t in said):
            raise ValueError(f"{name}, scene {number + 1}: user and character speak by turns, the character last.")
        others = [other for place, other in enumerate(scenes) if place != number]
        shown = chance.sample(others, min(len(others), chance.choice(SHOWN)))
        scene = Scene(
            character=name,
            language=language,
            persona=str(character.get("persona", "")).replace("{{char}}", name),
            style=str(character.get("style", "")),
            lines=tuple(_line(name, other) for other in shown),
            history=tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(said[:-1])),
        )
        place = f"{character.get('slug') or name}/{number}"
        yield Example(scene, said[-1], id=place, group=place, source="cast")


def _line(name: str, said: Sequence[str]) -> str:
    """The first exchange of a scene, as a prompt shows past lines."""
    return f"user: {said[0]}\n{name}: {said[1]}"
