"""Engines as they are named on the command line: the packaged one, a checkpoint, a server, a character of ours."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from app.cli.console import err, settings
from models.engine import Engine, EngineUnavailable
from models.judging.asking import CHARACTER, Answers, Asked

PACKAGED = "packaged"
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
    """The engine that `spec` names, started. Raises `EngineError` where it can't be.

    `packaged` is the small language model that comes along, a folder is a checkpoint, and `URL` or `URL#MODEL` any
    OpenAI-compatible server; a model `char/<slug>` is a character of a running Moodline.
    """
    chosen = settings()
    engine, name = _engine(spec, chosen.home)
    try:
        with err.status(f"starting {spec}"):
            await engine.start()
        layout, window = chosen.layout, chosen.window
        yield Asked(engine, name, Answers(choices.cache or chosen.home / "eval"), choices.at_once, layout, window)
    finally:
        await engine.close()


def _engine(spec: str, home: Path) -> tuple[Engine, str]:
    """The engine, and what its answers are kept under."""
    if spec.startswith(("http://", "https://")):
        from models.upstream import UpstreamEngine

        url, _, model = spec.partition("#")
        # A character that kept these talks would recall one question at the next, and one run in the next.
        store = False if model.startswith(CHARACTER) else None
        return UpstreamEngine(url, model or None, os.environ.get(KEY), dialect=None, store=store), spec
    from models.local import LocalEngine

    if spec == PACKAGED:
        return LocalEngine(None, home), PACKAGED
    folder = Path(spec)
    if not (folder / "config.json").is_file():
        raise EngineUnavailable(
            f"There is no engine {spec}: give `packaged`, the folder of a checkpoint with its config.json, or a "
            "server's address such as http://127.0.0.1:8000/v1#char/mara."
        )
    marks = [
        f"{file.name}:{(at := file.stat()).st_size}:{at.st_mtime_ns}" for file in sorted(folder.glob("*.safetensors"))
    ]
    return LocalEngine(folder, home), "\n".join([str(folder.resolve()), *marks])
