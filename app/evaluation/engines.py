"""Who answers an evaluation, and where its answers are kept."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from app.cli.console import settings
from app.cli.engines import started
from models.judging.asking import Answers, Asked

KEY = "MOODLINE_EVAL_API_KEY"


@dataclass(frozen=True, slots=True)
class Choices:
    """What every evaluation takes: who answers, how many questions at most, where answers and results go."""

    engine: str
    limit: int = 0
    cache: Path | None = None
    at_once: int = 8
    out: Path | None = None


@asynccontextmanager
async def opened(spec: str, choices: Choices) -> AsyncIterator[Asked]:
    """The engine that `spec` names, started, with its answers. Raises `EngineError` where it can't be."""
    chosen = settings()
    kept = Answers(choices.cache or chosen.home / "eval")
    async with started(spec, os.environ.get(KEY)) as (engine, name):
        yield Asked(engine, name, kept, choices.at_once, chosen.layout, chosen.window)
