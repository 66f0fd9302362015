"""What a character's card tells the language model beyond its persona, as fields of the scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.characters.macros import example_talks, fill_names, fill_original
from app.characters.schemas import CharacterFields
from app.services import Services
from models.prompt import SEPARATOR, closing_words, rules_of

EXAMPLES_SHARE = 0.25
"""Of the prompt, at most, for the talks of `mes_example`: they are the first to give way when a card is long."""


def card_fields(
    character: CharacterFields, user: str, note: str, note_depth: int, company: Mapping[str, str]
) -> dict[str, Any]:
    """Fields of `Scene`: the session's own note counts before that of the card."""
    called = character.called

    def named(text: str, original: str = "") -> str:
        return fill_original(fill_names(text, called, user, company), original)

    deep = character.depth_prompt
    if deep and not note.strip():
        note, note_depth = deep.prompt, deep.depth
    return {
        "character": called,
        "rules": named(character.system_prompt, rules_of(character.language, called, user)),
        "closing": named(character.post_history_instructions, closing_words(character.language, called, user)),
        "note": named(note),
        "note_depth": note_depth,
    }


async def examples(
    services: Services, character: CharacterFields, user: str, budget: int, company: Mapping[str, str]
) -> str:
    """As many of the card's example talks as fit their share of `budget` tokens, in their order.

    What follows the first that does not fit is left out; of that one, the first lines that fit are kept when it stands
    alone.
    """
    talks = [fill_names(talk, character.called, user, company) for talk in example_talks(character.mes_example)]
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
