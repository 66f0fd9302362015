"""A desk whose teacher says what a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.scripted import ScriptedEngine
from models.teacher.answers import Answers
from models.teacher.ask import Patience, Teacher
from models.teacher.parts import Desk


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A desk whose teacher says these things, one after another; objects are said as JSON."""
    with Answers(tmp_path / "answers.jsonl") as answers:

        def desk(*replies: Any) -> Desk:
            told = [reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False) for reply in replies]
            return Desk(Teacher(ScriptedEngine(told, abilities=frozenset()), answers, at_once=1, patience=Patience(1)))

        yield desk
