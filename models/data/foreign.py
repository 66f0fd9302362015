"""Files of other programs become examples, and examples such files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from models.data import alpaca, dataset_info, messages, sharegpt
from models.data.alpaca import As
from models.data.rows import Row, read_rows
from models.data.talk import Talk, talk_of
from models.example import BadRow, Example

Format = Literal["alpaca", "sharegpt", "openai", "dataset_info"]
Target = Literal["alpaca", "sharegpt", "openai"]

_READ: dict[str, Callable[[Row], Talk]] = {
    "alpaca": alpaca.read,
    "sharegpt": sharegpt.read,
    "openai": messages.read,
}
_WRITE = {"alpaca": alpaca.write, "sharegpt": sharegpt.write, "openai": messages.write}


def detect(path: Path) -> Format:
    """The format of a file, by its first row. Raises BadRow where it is none that is known, OSError."""
    if dataset_info.is_info(path):
        return "dataset_info"
    row = next(read_rows(path), None)
    if row is None:
        raise BadRow(path, 1, "the file is empty.")
    found = _form(row)
    if found is None:
        names = ", ".join(list(row.fields)[:8]) or "none"
        raise row.fault(
            f"its fields ({names}) are those of no format that is known: alpaca has instruction and output, sharegpt "
            "conversations, openai messages, or prompt with chosen and rejected. LLaMA-Factory's dataset_info.json "
            "can name other fields."
        )
    return found


def read_foreign(
    path: Path, form: Format, *, dataset: str = "", character: str = "", persona: str = ""
) -> Iterator[Example]:
    """The examples of a file. Each gets the file's name and its place as `id`, and what it says first as `group`.

    Raises BadRow where a row is damaged or of another format than the file's, or there is none at all.
    """
    sources: list[tuple[Callable[[Row], Talk], Path]] = [(_READ[form], path)] if form in _READ else []
    if form == "dataset_info":
        sources = [(one.read, file) for one in dataset_info.read_info(path, dataset) for file in one.files]
    for read, file in sources:
        number = 0
        for number, row in enumerate(read_rows(file), 1):
            other = _form(row)
            if form != "dataset_info" and other not in (form, None):
                raise row.fault(f"this row looks like {other}, the file began as {form}; divide it.")
            talk = read(row)
            own = {"id": f"{file.stem}-{number}", "group": _group(talk), "source": file.name}
            yield talk.to_example(character, persona, **own)
        if not number:
            raise BadRow(file, 1, "the file has no rows.")


def write_rows(examples: Iterable[Example], target: Target, rows: As) -> Iterator[dict[str, Any]]:
    """The rows of a foreign file. Raises ValueError where an example lacks the reply that `rows` need."""
    for number, example in enumerate(examples, 1):
        lacks = {
            "sft": not example.reply,
            "preference": not (example.reply and example.rejected),
            "kto": bool(example.reply and example.rejected),
        }
        if lacks[rows]:
            raise ValueError(f"Row {number} ({example.id or 'no id'}) {_LACKS[rows]}")
        yield _WRITE[target](talk_of(example), rows)


_LACKS = {
    "sft": "has no reply to learn, only a rejected one; export it as kto.",
    "preference": "has no pair of replies; export plain rows as sft.",
    "kto": "has two replies; export pairs as preference.",
}


def rows_of(examples: Iterable[Example]) -> As:
    """What examples are: all pairs, all plain, or some of them only unwanted. Raises ValueError for a mixture."""
    kinds = {(bool(example.reply), bool(example.rejected)) for example in examples}
    if not kinds:
        raise ValueError("The file has no rows.")
    if kinds == {(True, True)}:
        return "preference"
    if (True, True) in kinds:
        raise ValueError("Some rows are pairs and some are not. Say which form is meant, or divide the file.")
    return "kto" if (False, True) in kinds else "sft"


def _form(row: Row) -> Literal["alpaca", "sharegpt", "openai"] | None:
    fields = row.fields
    if "conversations" in fields:
        return "sharegpt"
    if "messages" in fields or "preferred_output" in fields or {"prompt", "completion", "label"} <= set(fields):
        return "openai"
    if "instruction" in fields:
        return "alpaca"
    return "openai" if {"chosen", "rejected"} <= set(fields) else None


def _group(talk: Talk) -> str:
    """Conversations that begin alike are one group: many data sets hold each turn of a talk as a row of its own."""
    return hashlib.sha256(f"{talk.system}\n{talk.history[0].content}".encode()).hexdigest()[:16]
