"""What a character's card tells the language model beyond its persona, as fields of the scene."""

from __future__ import annotations

from typing import Any

from app.characters.macros import Moment, example_talks, fill, fill_original
from app.characters.schemas import CharacterFields
from app.characters.volatile import apart
from app.services import Services
from models.prompt import SEPARATOR, closing_words, rules_of
from models.scene import Lore

EXAMPLES_SHARE = 0.25
"""Of the prompt, at most, for the talks of `mes_example`: they are the first to give way when a card is long."""


def card_fields(character: CharacterFields, moment: Moment, note: str, note_depth: int) -> dict[str, Any]:
    """Fields of `Scene`: the session's own note counts before that of the card."""
    called, user = character.called, moment.user
    deep = character.depth_prompt
    if deep and deep.role == "system" and not note.strip():
        note, note_depth = deep.prompt, deep.depth
    rules = fill(rules_apart(character)[0], moment.held(), "rules")
    closing = fill(character.post_history_instructions, moment, "closing")
    return {
        "character": called,
        "rules": fill_original(rules, rules_of(character.language, called, user)),
        "closing": fill_original(closing, closing_words(character.language, called, user)),
        "note": fill(note, moment, "note"),
        "note_depth": note_depth,
    }


def rules_apart(character: CharacterFields) -> tuple[str, str]:
    """The lines of the card's rules that are the same every turn, what they replace among them, and the others."""
    stable, passing = apart(character.system_prompt)
    told = fill_original(passing, "")
    return (f"{{{{original}}}}\n{stable}" if told != passing else stable), told


def deep_lore(character: CharacterFields, moment: Moment, note: str) -> tuple[Lore, ...]:
    """The card's text at a depth where it is not the system that says it; none where the session has a `note`."""
    deep = character.depth_prompt
    if deep is None or deep.role == "system" or note.strip():
        return ()
    return (Lore(fill(deep.prompt, moment, "note"), constant=True, place="depth", depth=deep.depth, role=deep.role),)


async def examples(services: Services, character: CharacterFields, moment: Moment, budget: int) -> str:
    """As many of the card's example talks as fit their share of `budget` tokens, in their order.

    What follows the first that does not fit is left out; of that one, the first lines that fit are kept when it stands
    alone.
    """
    stable = apart(character.mes_example)[0]
    talks = [fill(talk, moment.held(), f"example {place}") for place, talk in enumerate(example_talks(stable))]
    kept = await _fitting(services, talks, int(budget * EXAMPLES_SHARE))
    if talks and not kept:
        lines = await _fitting(services, talks[0].split("\n"), int(budget * EXAMPLES_SHARE))
        return "\n".join(lines)
    return SEPARATOR.join(kept)


async def _fitting(services: Services, texts: list[str], room: int) -> list[str]:
    """The first of `texts` that fit."""
    kept = []
    for text, tokens in zip(texts, await services.engine.count(texts), strict=True):
        room -= tokens + 4  # what divides them
        if room < 0:
            break
        kept.append(text)
    return kept
