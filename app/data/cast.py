"""`moodline data cast`: rows of talks that were written for training."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from app.data.files import save, told, vacant, written
from models.data.cast import read_cast
from models.scene import Language


def make(file: Path | None, target: Path, language: Language, seed: int, force: bool) -> None:
    """Write the rows of the cast in `file`, or of the one that comes along."""
    vacant(target, force)
    with told():
        text = (
            file.read_text("utf-8") if file else (files("models.training") / "material" / "en.json").read_text("utf-8")
        )
        count = save(read_cast(json.loads(text), language, seed=seed), target)
    written(target, count, "a cast's scenes")
