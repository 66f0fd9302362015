"""Characters of CharacterGLM: `bot_name`, `bot_info`, `user_name`, `user_info`, `greeting`; one, or many by name."""

from __future__ import annotations

from app.characters.forms.values import text_of
from app.characters.reading import Json, Report

_USED = ("bot_name", "bot_info", "greeting", "user_info")


def is_characterglm(value: Json) -> bool:
    """Whether it has this form's fields."""
    return "bot_info" in value and isinstance(value["bot_info"], str)


def several(value: Json) -> list[str]:
    """The names in a file of many such characters; none when it is not one."""
    inner = list(value.values())
    return list(value) if inner and all(isinstance(one, dict) and is_characterglm(one) for one in inner) else []


def read_characterglm(value: Json, report: Report) -> tuple[Json, Json]:
    """The fields as a card has them, and the rest. Who the user is belongs to the scene that the two meet in."""
    data = {
        "name": text_of(value.get("bot_name", ""), "bot_name", report),
        "description": text_of(value["bot_info"], "bot_info", report),
        "first_mes": text_of(value.get("greeting", ""), "greeting", report),
    }
    if user := text_of(value.get("user_info", ""), "user_info", report).strip():
        data["scenario"] = f"{{{{user}}}}：{user}"
    return data, {name: kept for name, kept in value.items() if name not in _USED}
