"""A teacher's answers on disk, so that a run that was killed asks nothing twice.

A JSONL file that only grows and is synced after every answer. Of a line that a crash has cut off nothing is kept.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

from models.engine import FinishReason, Sampling
from models.example import BadRow
from models.scene import Message


class AnswersTaken(ValueError):
    """Another run is writing the same file."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, thoughts left out, why it ended, and what it cost in tokens."""

    text: str
    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


class Answers:
    """The answers in the file `path`, which is made where it is missing and belongs to one run at a time.

    Raises AnswersTaken, OSError, and BadRow where a line before the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._known: dict[str, Answer] = {}
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            self._file.close()
            raise AnswersTaken(f"Another run writes {path} just now. Wait for it, or choose another --out.") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Answer | None:
        """The answer to the question with this key, if it was given."""
        return self._known.get(key)

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer; it is on the disk when this returns."""
        row = {"key": key} | dataclasses.asdict(answer)
        self._file.write(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._known[key] = answer

    def close(self) -> None:
        """Let others write the file, which is gone again where nothing was answered."""
        if not self._known:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for line, raw in enumerate(self._file, 1):
            try:
                key, answer = _answer(raw)
            except (ValueError, RecursionError):
                if self._file.read(1):
                    raise BadRow(self.path, line, "this is no answer. Delete the line, or the file.") from None
                break
            self._known[key] = answer
            whole += len(raw)
        self._file.truncate(whole)


def key_of(teacher: str, messages: Sequence[Message], sampling: Sampling) -> str:
    """What a question is known by: SHA-256 of who is asked, what, and how."""
    how = {
        field.name: getattr(sampling, field.name)
        for field in dataclasses.fields(sampling)
        if field.name != "enough" and getattr(sampling, field.name) != field.default
    }
    asked = {"teacher": teacher, "messages": [[said.role, said.content] for said in messages], "sampling": how}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _answer(raw: bytes) -> tuple[str, Answer]:
    if not raw.endswith(b"\n"):
        raise ValueError("cut off")
    row = json.loads(raw)
    if not isinstance(row, dict) or row.keys() != {"key", "text", "reason", "prompt_tokens", "completion_tokens"}:
        raise ValueError("other fields")
    key, text, reason = row["key"], row["text"], row["reason"]
    tokens = row["prompt_tokens"], row["completion_tokens"]
    known = isinstance(key, str) and isinstance(text, str) and reason in get_args(FinishReason)
    if not known or not all(isinstance(count, int) for count in tokens):
        raise ValueError("other values")
    return key, Answer(text, reason, *tokens)
