"""Lore that says by ranges of affinity in which stage it speaks, read as lore that names its stages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.characters.schemas import CharacterCreate, LoreEntryIn, Stage
from app.lore.document import entry_of
from app.lore.ladder import Rung, ladders


def with_stages(body: CharacterCreate) -> CharacterCreate:
    """A new character whose ladders of lore are stages: its own where they begin where the rungs do, else new ones.

    New ones are made only of the first ladder, and where the body says nothing of stages.
    """
    found = _ladders(body.lore)
    if not found:
        return body
    stages = body.stages
    if not stages and "stages" not in body.model_fields_set:
        stages = [Stage(name=rung.name, affinity=rung.low) for rung in found[0]]
    return body.model_copy(update={"stages": stages, "lore": _named(body.lore, found, stages)})


def in_stages(lore: Sequence[LoreEntryIn], stages: Sequence[Stage]) -> list[LoreEntryIn]:
    """Lore whose ladders name those of `stages` that begin where their rungs do."""
    return _named(lore, _ladders(lore), stages)


def renamed(before: Sequence[Stage], now: Sequence[Stage]) -> dict[str, str]:
    """New names by old ones, of stages that begin where they began."""
    names = {stage.affinity: stage.name for stage in now}
    gone = (stage for stage in before if stage.name not in names.values())
    return {stage.name: names[stage.affinity] for stage in gone if stage.affinity in names}


def _ladders(lore: Sequence[LoreEntryIn]) -> list[tuple[Rung, ...]]:
    return ladders([entry_of(str(place), entry.model_dump()) for place, entry in enumerate(lore)])


def _named(lore: Sequence[LoreEntryIn], found: Sequence[Sequence[Rung]], stages: Sequence[Stage]) -> list[LoreEntryIn]:
    names: Mapping[float, str] = {stage.affinity: stage.name for stage in stages}
    named = list(lore)
    for rungs in found:
        if all(rung.low in names for rung in rungs):
            for rung in rungs:
                # The stage calls it now, and its keys no longer need to be said.
                change = {"stages": [names[rung.low]], "constant": True}
                named[rung.place] = named[rung.place].model_copy(update=change)
    return named
