"""The row of a data set: a scene, what the character says in it, and what it should rather not say.

One JSON object per line: the fields of `models.scene.Scene`, those of `Example` beside them, and what stands at its
default left out. Builders write it; training, evaluation and reports read it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from models.scene import Scene

Learn = Literal["talk", "reply"]


class BadRow(ValueError):
    """A row of a file can't be used; the message names the file and the line."""

    def __init__(self, path: Path | str, line: int, why: str) -> None:
        super().__init__(f"{path}, line {line}: {why}")
        self.path, self.line, self.why = path, line, why


@dataclass(frozen=True, slots=True)
class Example:
    """A scene whose history ends with the user's message, and the character's `reply` to it.

    `rejected` is a worse reply to the same message, for preference training; empty where there is none. `learn` says
    which words are learnt: all that the character says in the `talk`, or the last `reply` alone, where the talk before
    it is in other rows already or is not the character's own. `id` is unique within a file. Rows of one `group`, those
    of one scene of a script, are never divided between training and test. `source` names what it was made from.
    """

    scene: Scene
    reply: str
    rejected: str = ""
    learn: Learn = "talk"
    id: str = ""
    group: str = ""
    source: str = ""

    def to_json(self) -> str:
        """One JSONL row."""
        row = _told(self.scene) | {k: v for k, v in _told(self).items() if k != "scene"} | {"reply": self.reply}
        return json.dumps(row, ensure_ascii=False)

    @classmethod
    def from_json(cls, row: str) -> Example:
        """The example of a JSONL row. Raises ValueError, and says what is wrong with which field."""
        fields = json.loads(row)
        if not isinstance(fields, dict):
            raise ValueError("a row is a JSON object.")
        if unknown := sorted(set(fields) - _SCENE - _OWN):
            raise ValueError(f"unknown fields {', '.join(unknown)}; known are {', '.join(sorted(_SCENE | _OWN))}.")
        if missing := [name for name in ("character", "language", "persona", "history", "reply") if name not in fields]:
            raise ValueError(f"{', '.join(missing)} must be given.")
        scene = _checked({k: v for k, v in fields.items() if k in _SCENE})
        if not scene.history or scene.history[-1].role != "user":
            raise ValueError("history must end with the user's message; what the character answers is `reply`.")
        example = cls(scene, **_own(fields))
        example.to_json().encode()  # a lone surrogate is no text, and could never be written again
        return example


_OWN = {field.name for field in dataclasses.fields(Example)} - {"scene"}
_SCENE = {field.name for field in dataclasses.fields(Scene)}


def read_examples(path: Path) -> Iterator[Example]:
    """The rows of a JSONL file, one after the other; empty lines are passed over.

    Raises BadRow where a row is damaged, and OSError where the file can't be read.
    """
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                yield Example.from_json(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                raise BadRow(path, line, str(error) or "it is nested too deeply.") from error


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write a JSONL file, which appears whole or not at all; returns how many rows it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with scratch.open("w", encoding="utf-8") as file:
            for count, example in enumerate(examples, 1):  # noqa: B007
                file.write(example.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return count


def _told(value: Scene | Example) -> dict[str, Any]:
    """The fields that are not at their default, scenes and messages as plain objects."""
    plain = dataclasses.asdict(value)
    return {f.name: plain[f.name] for f in dataclasses.fields(value) if getattr(value, f.name) != f.default}


def _own(fields: dict[str, Any]) -> dict[str, Any]:
    own = {name: fields[name] for name in _OWN if name in fields}
    for name, value in own.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text.")
    if own.get("learn", "talk") not in get_args(Learn):
        raise ValueError(f"learn must be one of {', '.join(get_args(Learn))}.")
    return own


@cache
def _form() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Scene)


def _checked(fields: dict[str, Any]) -> Scene:
    from pydantic import ValidationError

    try:
        scene: Scene = _form().validate_python(fields)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ValueError("; ".join(faults) + ".") from error
    return scene
