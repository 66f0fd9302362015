"""CoSER's scenes (2502.09082): what a character thinks, does and says, in a place, moved by something, among others.

Thoughts are the character's own: they stand in its replies and in nobody's history. CoSER has one sample a conversation
with the character's earlier thoughts in it; here a reply is a row, as the server keeps no thoughts of earlier turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from models.data.pairs import Cut, pairs
from models.data.script import Script
from models.example import Example
from models.scene import Language

FORM: Mapping[Language, str] = {
    "en": (
        "First what {char} thinks, in [square brackets], which nobody else knows; then what {char} does, in (round "
        "brackets); then what {char} says."
    ),
    "zh": "先写{char}心里想的，放在[方括号]里，别人不知道；再写{char}的动作，放在（圆括号）里；然后写{char}说的话。",
}
WHOLE_SCENE = 10**6
"""Turns that are more than any scene has."""


def scenes(script: Script, role: str = "", least: int = 2) -> Iterator[Example]:
    """Rows of a character, or of everyone who speaks at least `least` times. Raises ValueError as `pairs` does."""
    roles = [role] if role else [name for name, lines in script.speakers().most_common() if lines >= least]
    thinks = any(line.thought for scene in script.scenes for line in scene.lines)
    for name in roles:
        for example in pairs(script, name, Cut(WHOLE_SCENE, actions=True, thoughts=True)):
            form = FORM[example.scene.language].format(char=name) if thinks else ""
            yield replace(example, scene=replace(example.scene, style=form))
