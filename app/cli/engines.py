"""Engines as they are named on the command line: the packaged one, a checkpoint, a server, a character of ours."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.cli.console import err, settings
from models.engine import Engine, EngineUnavailable
from models.judging.asking import CHARACTER

PACKAGED = "packaged"


@asynccontextmanager
async def started(spec: str, key: str | None) -> AsyncIterator[tuple[Engine, str]]:
    """The engine that `spec` names, started, and what tells it from others that are named alike.

    `packaged` is the small language model that comes along, a folder is a checkpoint, and `URL` or `URL#MODEL` any
    OpenAI-compatible server, asked with `key`; a model `char/<slug>` is a character of a running Moodline. Raises
    `EngineError` where it can't be started.
    """
    engine, name = _engine(spec, key)
    try:
        with err.status(f"starting {spec}"):
            await engine.start()
        yield engine, name
    finally:
        await engine.close()


def _engine(spec: str, key: str | None) -> tuple[Engine, str]:
    chosen = settings()
    if spec.startswith(("http://", "https://")):
        from models.upstream import UpstreamEngine

        url, _, model = spec.partition("#")
        # A character that kept these talks would recall one question at the next, and one run in the next.
        store = False if model.startswith(CHARACTER) else None
        return UpstreamEngine(url, model or None, key, dialect=None, store=store), spec
    from models.local import LocalEngine

    if spec == PACKAGED:
        return LocalEngine(None, chosen.home, context_length=chosen.context_tokens), PACKAGED
    folder = Path(spec)
    if not (folder / "config.json").is_file():
        raise EngineUnavailable(
            f"There is no engine {spec}: give `packaged`, the folder of a checkpoint with its config.json, or a "
            "server's address such as http://127.0.0.1:8000/v1#MODEL, where a model may be `char/mara`."
        )
    engine = LocalEngine(folder, chosen.home, context_length=chosen.context_tokens)
    return engine, f"{folder.resolve()}@{_mark(folder)}"


def _mark(folder: Path) -> str:
    """Twelve digits that change when other weights are written into the folder."""
    files = [(file.name, (at := file.stat()).st_size, at.st_mtime_ns) for file in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]
