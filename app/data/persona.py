"""Who a role is: typed words, a text file, or a JSON file of cards by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def persona_of(given: str, role: str) -> str:
    """The persona that `given` is, or that stands in the file it names. Raises ValueError where that knows no `role`.

    Cards may be texts, fields by name (CharacterEval's profiles), or CharacterGLM's with a `bot_info`.
    """
    file = Path(given)
    if not given or len(given) > 255 or "\n" in given or not file.is_file():
        return given
    text = file.read_text("utf-8-sig").strip()
    if file.suffix.lower() != ".json":
        return text
    try:
        cards = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{given}, line {error.lineno}: {error.msg}; expected an object of cards by name.") from None
    if not isinstance(cards, dict) or role not in cards:
        names = ", ".join(list(cards)[:12]) if isinstance(cards, dict) else "none"
        raise ValueError(f"{given} has no card of {role!r}; it has {names}.")
    return told(cards[role])


def told(card: Any) -> str:
    """A card in words, a field a line."""
    if not isinstance(card, dict):
        return "；".join(map(str, card)) if isinstance(card, list) else str(card).strip()
    if card.get("bot_info"):
        return str(card["bot_info"]).strip()
    return "\n".join(f"{name}：{told(value)}" for name, value in card.items() if value)
