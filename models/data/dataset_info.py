"""LLaMA-Factory's `dataset_info.json`: which file a data set is in, in which format, under which names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.data import alpaca, messages, sharegpt
from models.data.alpaca import As
from models.data.rows import Row, read_text
from models.data.talk import Talk
from models.example import BadRow

_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_SENSES = ("images", "videos", "audios")
_KNOWN = {"file_name", "formatting", "ranking", "columns", "tags", "split", "subset", "folder", "num_samples"}


_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alpaca": alpaca.COLUMNS,
    "sharegpt": sharegpt.COLUMNS,
    "openai": {name: name for name in ("messages", "tools", "chosen", "rejected")},
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """One entry: the files, and how their rows are read."""

    name: str
    files: tuple[Path, ...]
    formatting: Literal["alpaca", "sharegpt", "openai"]
    columns: Mapping[str, str]
    tags: Mapping[str, str]

    def read(self, row: Row) -> Talk:
        """The talk of a row. Raises BadRow."""
        if self.formatting == "alpaca":
            return alpaca.read(row, self.columns)
        if self.formatting == "openai":
            own = {name: row.fields[column] for name, column in self.columns.items() if column in row.fields}
            return messages.read(Row(row.path, row.line, own))
        return sharegpt.read(row, self.columns, self.tags)


def is_info(path: Path) -> bool:
    """Whether a file names data sets instead of being one."""
    if path.suffix.lower() != ".json" or path.stat().st_size > 2**22:
        return False
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    entries = list(found.values()) if isinstance(found, dict) else []
    keys = ("file_name", *_ELSEWHERE)
    return bool(entries) and all(isinstance(entry, dict) and any(key in entry for key in keys) for entry in entries)


def read_info(path: Path, name: str = "") -> list[Dataset]:
    """The data set called `name`, or every one. Raises BadRow, of line 1 unless the JSON itself is damaged."""
    try:
        found = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BadRow(path, error.lineno, error.msg) from None
    except RecursionError:
        raise BadRow(path, 1, "it is nested too deeply.") from None
    if not isinstance(found, dict):
        raise BadRow(path, 1, "expected an object with a data set under each name.")
    if name and name not in found:
        raise BadRow(path, 1, f"there is no data set {name!r}; there are {', '.join(map(repr, found))}.")
    return [_dataset(path, key, entry) for key, entry in found.items() if not name or key == name]


def entry(path: Path, form: str, rows: As) -> dict[str, Any]:
    """The entry that makes LLaMA-Factory read a file that was exported."""
    found: dict[str, Any] = {"file_name": path.name}
    if form != "alpaca":
        found["formatting"] = "sharegpt"
    if rows == "preference":
        found["ranking"] = True
    columns = {"messages": "conversations"} if form == "sharegpt" else {"prompt": "instruction", "query": "input"}
    extra = {"preference": ["chosen", "rejected"], "kto": ["kto_tag"], "sft": []}[rows]
    if form == "alpaca":
        columns |= {"history": "history"} | ({} if rows == "preference" else {"response": "output"})
    else:
        extra = [*extra, "tools"]
    found["columns"] = columns | {"system": "system"} | {name: name for name in extra}
    return found


def _dataset(path: Path, name: str, entry: Any) -> Dataset:
    def wrong(why: str) -> BadRow:
        return BadRow(path, 1, f"data set {name!r}: {why}")

    if not isinstance(entry, dict):
        raise wrong("expected an object.")
    if not isinstance(entry.get("file_name"), str):
        raise wrong("its rows are elsewhere; download them and give their `file_name`.")
    if unknown := sorted(set(entry) - _KNOWN - set(_ELSEWHERE)):
        raise wrong(f"unknown fields {', '.join(unknown)}.")
    formatting = entry.get("formatting", "alpaca")
    if formatting not in _COLUMNS:
        raise wrong(f"formatting is {formatting!r}; expected one of {', '.join(_COLUMNS)}.")
    columns, tags = entry.get("columns") or {}, entry.get("tags") or {}
    if not all(isinstance(value, str) for part in (columns, tags) for value in part.values()):
        raise wrong("columns and tags must be texts.")
    if senses := [sense for sense in _SENSES if sense in columns]:
        raise wrong(f"it has {', '.join(senses)}, which can't be learnt from here.")
    own = _COLUMNS[formatting]
    if unknown := sorted([*(set(columns) - set(own)), *(set(tags) - set(sharegpt.TAGS))]):
        raise wrong(f"unknown columns or tags {', '.join(unknown)}.")
    file = path.parent / entry["file_name"]
    files = sorted(file.glob("*.json*")) if file.is_dir() else [file]
    if missing := [str(one) for one in files or [file] if not one.is_file()]:
        raise wrong(f"{missing[0]} is not there.")
    return Dataset(name, tuple(files), formatting, {**own, **columns}, {**sharegpt.TAGS, **tags})
