"""Characters of text-generation-webui (YAML or JSON) and the JSON of Pygmalion that it also reads."""

from __future__ import annotations

from app.characters.forms.values import text_of
from app.characters.reading import Json, Report

_FIELDS = {
    "name": ("name", "char_name"),
    "description": ("context", "char_persona"),
    "scenario": ("world_scenario",),
    "first_mes": ("greeting", "char_greeting"),
    "mes_example": ("example_dialogue",),
}


def is_webui(value: Json) -> bool:
    """Whether it has this form's fields."""
    return any(name in value for name in ("char_name", "char_persona", "char_greeting")) or (
        "context" in value and ("name" in value or "greeting" in value)
    )


def read_webui(value: Json, report: Report) -> tuple[Json, Json]:
    """The fields as a card has them, and the rest."""
    data: Json = {}
    for target, names in _FIELDS.items():
        found = next((name for name in names if value.get(name) not in (None, "")), None)
        data[target] = text_of(value[found], found, report) if found else ""
    used = {name for names in _FIELDS.values() for name in names}
    return data, {name: kept for name, kept in value.items() if name not in used}
