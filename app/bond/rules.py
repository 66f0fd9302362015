"""The rules of a character's bonds, as its author wrote them down."""

from __future__ import annotations

from app.bond.affinity import AFFINITY, FEELINGS, HIGHEST, LOWEST, Rules, Span
from app.characters.schemas import CharacterFields


def rules_of(character: CharacterFields) -> Rules:
    """What moves the bonds of this character; what its author left out is as for everyone."""
    written = character.bond
    spans = {AFFINITY: Span(written.start, LOWEST, HIGHEST)}
    spans |= {name: Span(one.start, one.least, one.most) for name, one in written.variables.items()}
    return Rules(
        stages=tuple(character.stages),
        spans=spans,
        feelings=FEELINGS | dict(written.feelings),
        hysteresis=written.hysteresis,
        inertia=written.inertia,
    )
