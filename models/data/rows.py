"""Rows of foreign files: a JSON array, JSON objects one after another, or JSONL, each with the line it begins on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.example import BadRow

_GAP = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file."""

    path: Path
    line: int
    fields: dict[str, Any]

    def fault(self, why: str) -> BadRow:
        """The error that names this row."""
        return BadRow(self.path, self.line, why)

    def text(self, name: str, *, empty: bool = False) -> str:
        """The text of a field. One that is absent or null is "" where it may be `empty`. Raises BadRow."""
        value = self.fields.get(name)
        if value is None and empty:
            return ""
        return self.checked(value, name, empty=empty)

    def checked(self, value: Any, name: str, *, empty: bool = False) -> str:
        """`value` if it is a text, with something in it unless it may be `empty`; the error calls it `name`."""
        if not isinstance(value, str):
            raise self.fault(f"{name} must be a text, not {_kind(value)}.")
        if not empty and not value.strip():
            raise self.fault(f"{name} is empty.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.fault(f"{name} holds half a character (a lone surrogate).") from None
        return value

    def items(self, name: str) -> list[Any]:
        """The list of a field, empty where it is absent or null. Raises BadRow."""
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.fault(f"{name} must be a list, not {_kind(value)}.")
        return value

    def objects(self, name: str) -> list[dict[str, Any]]:
        """The list of objects of a field. Raises BadRow."""
        found = self.items(name)
        for number, item in enumerate(found):
            if not isinstance(item, dict):
                raise self.fault(f"{name}.{number} must be an object, not {_kind(item)}.")
        return found


def read_rows(path: Path) -> Iterator[Row]:
    """The objects of a file in order. Its beginning says whether it is an array, whatever its name ends with.

    Raises BadRow where something is no JSON object, and OSError where the file can't be read.
    """
    if path.suffix.lower() == ".json" or _begins_array(path):
        return _whole(path)
    return _lines(path)


def read_text(path: Path) -> str:
    """A file's text, which must be UTF-8; raises BadRow with the line that is not."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadRow(path, line, "this is not UTF-8; save the file as UTF-8.") from None


def _begins_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if raw.strip():
                try:
                    value = json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
                except (ValueError, RecursionError) as error:
                    raise BadRow(path, line, f"expected a JSON object ({_why(error)}).") from None
                yield _row(path, line, value)


def _whole(path: Path) -> Iterator[Row]:
    """The objects of an array, or of a file of objects. Each is yielded before the next is read."""
    text = read_text(path)
    decoder = json.JSONDecoder()
    begin = len(text) - len(text.lstrip())
    array = text[begin : begin + 1] == "["
    place, line, counted = _GAP.match(text, begin + array).end(), 1, 0  # type: ignore[union-attr]  # it always matches
    while place < len(text) and text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            place = error.pos if isinstance(error, json.JSONDecodeError) else place
            at = text.count("\n", 0, place) + 1
            raise BadRow(path, at, f"expected a JSON object ({_why(error)}).") from None
        yield _row(path, line, value)
        place = _GAP.match(text, end).end()  # type: ignore[union-attr]
    if array and place >= len(text):
        raise BadRow(path, text.count("\n") + 1, "the array has no end; the file is cut off.")


def _row(path: Path, line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadRow(path, line, f"expected a JSON object, found {_kind(value)}.")
    return Row(path, line, value)


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else "nested too deeply, or a number too long"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
