"""Characters of ChatHaruhi: a persona in which placeholders say where, and how many, past scenes are recalled.

`{{RAG对话}}` is one scene, `{{RAG多对话|token<=1500|n<=5}}` several (`{{RAG-dialogue}}` and `{{RAG-dialogues|…}}` in
English), and `{{RAG对话|高兴的对话}}` one that is looked for by these words instead of by what the user said.
"""

from __future__ import annotations

import re
from typing import Any

from app.characters.forms.values import text_of, texts_of
from app.characters.reading import Json, Report

_PLACE = re.compile(
    r"\{\{\s*RAG\s*-?\s*(?P<kind>多对话|对话|dialogues|dialogue)\s*(?P<rest>(?:\|[^{}|]*)*)\}\}", re.IGNORECASE
)
_COUNT = re.compile(r"n\s*<=?\s*(\d{1,4})", re.IGNORECASE)
_TOKENS = re.compile(r"token\s*<=?\s*(\d{1,6})", re.IGNORECASE)
_SEVERAL = 5
MOST = 50


def is_haruhi(value: Json) -> bool:
    """Whether it has this form's fields."""
    return isinstance(value.get("persona"), str) and ("role_name" in value or "stories" in value or "role" in value)


def is_haruhi_text(text: str) -> bool:
    """Whether a plain text is a persona with this form's placeholders."""
    return _PLACE.search(text) is not None


def read_haruhi(value: Json, report: Report) -> tuple[Json, Json]:
    """The fields as a card has them, with what the placeholders ask for in our extension; and the rest."""
    name = text_of(value.get("role_name", value.get("role", "")), "role_name", report)
    persona, recall = take_places(value["persona"])
    data: Json = {"name": name, "description": persona, "first_mes": _greeting(value, report)}
    if "system_prompt" in value:
        data["system_prompt"] = text_of(value["system_prompt"], "system_prompt", report)
    if recall:
        data["extensions"] = {"moodline": {"haruhi": recall}}
    used = ("role_name", "role", "persona", "greeting", "system_prompt")
    return data, {name: kept for name, kept in value.items() if name not in used}


def take_places(persona: str) -> tuple[str, Json]:
    """The persona without its placeholders, and what they ask for: `lines` at most, their `tokens`, fixed `queries`."""
    lines, tokens = 0, 0
    queries: list[str] = []
    for place in _PLACE.finditer(persona):
        parts = [part.strip() for part in place["rest"].split("|") if part.strip()]
        several = place["kind"].lower() in ("多对话", "dialogues")
        count = next((int(found[1]) for part in parts if (found := _COUNT.fullmatch(part))), _SEVERAL if several else 1)
        tokens += next((int(found[1]) for part in parts if (found := _TOKENS.fullmatch(part))), 0)
        queries += [part for part in parts if not _COUNT.fullmatch(part) and not _TOKENS.fullmatch(part)]
        lines += count
    if not lines:
        return persona, {}
    recall: dict[str, Any] = {"persona": persona, "lines": min(lines, MOST)}
    recall |= {name: value for name, value in (("tokens", tokens), ("queries", queries)) if value}
    kept = re.sub(r"\n{3,}", "\n\n", _PLACE.sub("", persona)).strip()
    return kept, recall


def _greeting(value: Json, report: Report) -> str:
    greetings = texts_of(value.get("greeting", []), "greeting", Report()) if value.get("greeting") else []
    if len(greetings) > 1:
        report.repair("greeting was a list: its first is the greeting")
    return greetings[0] if greetings else ""
