"""`moodline data cast`: rows of talks that were written for training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from app.characters.samples import read_samples
from app.data.files import save, told, vacant, written
from models.data.cast import read_cast
from models.scene import Language


def make(file: Path | None, target: Path, language: Language, seed: int, force: bool) -> None:
    """Write the rows of the cast in `file`, or of those that come along in that language."""
    vacant(target, force)
    with told():
        content = json.loads(file.read_text("utf-8")) if file else shipped(language)
        count = save(read_cast(content, language, seed=seed), target)
    written(target, count, "a cast's scenes")


def shipped(language: Language) -> list[dict[str, Any]]:
    """The casts that come along: characters written for training, and the past lines of the sample characters."""
    written_for_it = files("models.training") / "material" / f"{language}.json"
    cast = json.loads(written_for_it.read_text("utf-8")) if written_for_it.is_file() else []
    return [*cast, *(_of_sample(sample) for sample in read_samples() if sample["language"] == language)]


def _of_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample character as one of a cast: `slug` tells it from one of the same name."""
    scenes = (_by_turns(line["dialogue"], sample["name"]) for line in sample["lines"])
    return {
        "character": sample["name"],
        "slug": sample["slug"],
        "persona": sample["persona"],
        "style": sample["style"],
        "scenes": [scene for scene in scenes if scene],
    }


def _by_turns(dialogue: Sequence[Sequence[str]], name: str) -> list[str]:
    """What others and the character say by turns, from the first of others to the character's last."""

    def turns() -> Iterator[tuple[bool, str]]:
        for own, said in groupby(dialogue, key=lambda turn: turn[0] == name):
            yield own, "\n".join(text for _, text in said)

    told_by_turns = list(turns())
    first = 1 if told_by_turns and told_by_turns[0][0] else 0
    last = len(told_by_turns) if told_by_turns and told_by_turns[-1][0] else len(told_by_turns) - 1
    return [text for _, text in told_by_turns[first:last]]
