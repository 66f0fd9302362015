"""What tests of builders share: what a teacher was asked, whether rows are sound, and why some are lost."""

from __future__ import annotations

from typing import Any

from models.example import Example
from models.prompt import render
from models.scripted import ScriptedEngine
from models.teacher.parts import Desk, Made
from models.token_count import estimate_tokens


def asked(desk: Desk) -> list[str]:
    engine = desk.teacher.engine
    assert isinstance(engine, ScriptedEngine)
    assert not engine.replies, "everything that was to be said was asked for"
    return ["\n".join(message.content for message in one.messages) for one in engine.asked]


def assert_sound(made: Made[Example]) -> None:
    """Rows can be read back, have names of their own, and render."""
    assert len({row.id for row in made.rows}) == len(made.rows)
    for row in made.rows:
        assert Example.from_json(row.to_json()) == row
        prompt = render(row.scene, layout="late", budget=8000, window=40, count=estimate_tokens)
        assert any(message.content == row.scene.history[-1].content for message in prompt.messages)


def why(made: Made[Any]) -> list[str]:
    return [one.reason for one in made.lost]
