"""Uploaded past lines: JSON rows, a table or a script become dialogues of turns, in the order of the file.

- `jsonl`: `{"role", "content"}` a line (or `speaker`, `text`), or `{"dialogue": [[speaker, text], …], "emotion"?}`.
- `csv`: a header with `对话` or `dialogue`, whose cells hold `说话人：台词` lines, a dialogue a row; or with a speaker
  and a text column, a turn a row. Commas, tabs or semicolons separate the columns.
- `script`: `角色：台词`, `角色（动作）：台词`, `NAME (action): line`, or the name alone above what is said; see
  `models/data/script_text.py`.

Rows of one turn form a dialogue while `act_id`, `diag_id` and `dialogue_id`, those they have, stay the same; without
these while `scene` does, and until a blank line. A dialogue has an emotion when its rows name one and no other. Where
a row leaves the speaker blank, it is `?`.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.text import clean
from models.data.script_text import parts
from retrieval.units import Turn

Format = Literal["jsonl", "csv", "script"]

ENCODINGS = ("utf-8", "utf-16", "gb18030", "gbk", "gb2312", "big5", "shift-jis", "euc-kr", "latin-1")
_ENDINGS: dict[str, Format] = {"jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "csv": "csv", "tsv": "csv"}
_SPEAKER = ("role", "speaker", "角色", "说话人", "人物")
_TEXT = ("content", "text", "utterance", "line", "台词", "内容")
_DIALOGUE = ("dialogue", "对话")
_EMOTION = ("emotion", "情绪", "情感")
_PARTS = ("act_id", "diag_id", "dialogue_id")
_SCENE = ("scene", "scene_id", "场景", "场次", "幕")


class ParseError(ValueError):
    """The file can't be read as lines. `line` counts from 1; None when it is about the whole file."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(f"Line {line}: {message}" if line else message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns that belong together, and how they feel if the file says so."""

    turns: tuple[Turn, ...]
    emotion: str | None = None


def parse(
    content: bytes | str,
    *,
    filename: str = "",
    file_format: Format | None = None,
    encoding: str = "utf-8",
    max_bytes: int = 64 * 2**20,
    max_lines: int = 1_000_000,
    max_line_chars: int = 100_000,
) -> tuple[Dialogue, ...]:
    """The dialogues of a file, at least one. Without `file_format` it is detected.

    Raises:
        ParseError: not this format, not this encoding, over a limit, or nothing said in it.
    """
    lines = _decode(content, encoding, max_bytes)
    if len(lines) > max_lines:
        raise ParseError(f"The file has {len(lines):,} lines; at most {max_lines:,} are read (max_lines).")
    for number, line in enumerate(lines, 1):
        if len(line) > max_line_chars:
            raise ParseError(f"{len(line):,} characters; at most {max_line_chars:,} are read (max_line_chars).", number)
    match file_format or _sniff(filename, lines):
        case "jsonl":
            dialogues = tuple(_group(_json_rows(lines)))
        case "csv":
            dialogues = tuple(_group(_csv_rows(lines)))
        case _:
            dialogues = tuple(map(Dialogue, _scenes(lines)))
    if not dialogues:
        raise ParseError("Nothing is said in this file; expected `speaker: text` lines, JSON rows or a CSV table.")
    return dialogues


def detect(filename: str, content: bytes | str, encoding: str = "utf-8") -> Format:
    """The format that a file's ending names, or else its first line. Raises `ParseError` on the wrong encoding."""
    return _sniff(filename, _decode(content, encoding, len(content)))


def speakers(dialogues: Iterable[Dialogue]) -> Counter[str]:
    """How many turns each speaker has."""
    return Counter(turn.speaker for dialogue in dialogues for turn in dialogue.turns)


def _scenes(lines: Sequence[str]) -> Iterator[tuple[Turn, ...]]:
    """The scenes of a script; what stands in brackets behind a name is no line."""
    for part in parts(lines):
        yield tuple(Turn(speech.name, speech.text) for speech in part.speeches)


def _decode(content: bytes | str, encoding: str, max_bytes: int) -> list[str]:
    """The lines of the file, without byte order mark, made storable."""
    if len(content) > max_bytes:
        raise ParseError(f"The file has {len(content):,} bytes; at most {max_bytes:,} are read (max_bytes).")
    if isinstance(content, bytes):
        if encoding.lower().replace("_", "-") not in ENCODINGS:
            raise ParseError(f"Unknown encoding {encoding[:40]!r}; expected one of {', '.join(ENCODINGS)}.")
        try:
            content = content.decode(encoding)
        except UnicodeDecodeError as error:
            raise _undecodable(error, encoding) from None
    return clean(content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")).split("\n")


def _undecodable(error: UnicodeDecodeError, encoding: str) -> ParseError:
    advice = "Save the file as UTF-8, or name its encoding, such as encoding=gb18030."
    found = f"byte 0x{error.object[error.start : error.start + 1].hex()} at position {error.start:,}"
    return ParseError(f"{found} is not {encoding}. {advice}", error.object.count(b"\n", 0, error.start) + 1)


def _sniff(filename: str, lines: Sequence[str]) -> Format:
    ending = filename.lower().rpartition(".")[2]
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    first = next((line.strip() for line in lines if line.strip()), "")
    return "jsonl" if first.startswith("{") else "csv" if _separator(first) else "script"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of JSON or of a table. `fields` by lower-case name; `block` counts the blank lines before it."""

    line: int
    block: int
    fields: dict[str, Any]

    def pick(self, names: Sequence[str]) -> Any:
        """The first of these fields that holds something; "" when they are blank, None when there are none."""
        there = [value for name in names if (value := self.fields.get(name)) is not None]
        return next((value for value in there if value != ""), "" if there else None)

    def scene(self) -> tuple[Any, ...]:
        """What the rows of one dialogue share."""
        if self.pick(_DIALOGUE):
            return ("row", self.line)
        parts = [self.fields[name] for name in _PARTS if name in self.fields]
        scene = parts or [self.pick(_SCENE), self.block]
        if any(isinstance(part, (list, dict)) for part in scene):
            raise ParseError("expected a string or a number to name the scene.", self.line)
        return tuple(scene)

    def turns(self) -> list[Turn]:
        """What is said in this row; raises `ParseError` when it is not a row of lines."""
        whole = self.pick(_DIALOGUE)
        if not whole:
            blank = whole == "" and self.pick(_SPEAKER) is None
            return [] if blank else self._turn(self.pick(_SPEAKER), self.pick(_TEXT))
        if isinstance(whole, list):
            pairs = [pair if isinstance(pair, list) and len(pair) == 2 else (None, None) for pair in whole]
            return [turn for pair in pairs for turn in self._turn(*pair)]
        said = list(itertools.chain(*_scenes(whole.split("\n")))) if isinstance(whole, str) else []
        if not said:
            raise ParseError("expected a dialogue of `speaker: text` lines or of [speaker, text] pairs.", self.line)
        return [Turn(clean(turn.speaker), clean(turn.text)) for turn in said]

    def emotion(self) -> str:
        """The label, or nothing."""
        label = self.pick(_EMOTION) or ""
        if not isinstance(label, str):
            raise ParseError("expected a string as the emotion.", self.line)
        return clean(label).strip()

    def _turn(self, speaker: Any, text: Any) -> list[Turn]:
        if not isinstance(speaker, str) or not isinstance(text, str):
            found = ", ".join(self.fields)[:80] or "nothing"
            raise ParseError(f"expected a speaker (role) and a text (content), both strings; found {found}.", self.line)
        name, said = " ".join(clean(speaker).split()), _LOST_ACTION.sub("", clean(text).strip())
        return [Turn(name or "?", said)] if said else []


def _group(rows: Iterable[_Row]) -> Iterator[Dialogue]:
    for _, together in itertools.groupby(rows, key=_Row.scene):
        members = list(together)
        turns = tuple(turn for row in members for turn in row.turns())
        emotions = {row.emotion() for row in members} - {""}
        if turns:
            yield Dialogue(turns, emotions.pop() if len(emotions) == 1 else None)


def _json_rows(lines: Sequence[str]) -> Iterator[_Row]:
    block = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            block += 1
            continue
        expected = f"expected one JSON object on each line, found {line.strip()[:40]!r}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else "too deep, or a number too long"
            raise ParseError(f"{expected} ({why}).", number) from None
        if not isinstance(fields, dict):
            raise ParseError(f"{expected}.", number)
        yield _Row(number, block, {name.lower(): value for name, value in fields.items()})


def _csv_rows(lines: Sequence[str]) -> Iterator[_Row]:
    begin = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if not (separator := _separator(lines[begin])):
        expected = f"expected a header with {' or '.join(_DIALOGUE)}, or with speaker and text"
        raise ParseError(f"{expected}, found {lines[begin].strip()[:80]!r}.", begin + 1)
    header = _names(lines[begin], separator)
    reader = csv.reader((line + "\n" for line in lines[begin + 1 :]), delimiter=separator, strict=True)
    block, number = 0, begin + 2
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                block += 1
            elif len(cells) > len(header) and any(cells[len(header) :]):
                raise ParseError(f"{len(cells)} cells, {len(header)} columns; quote any {separator!r} in text.", number)
            else:
                yield _Row(number, block, {name: cell.strip() for name, cell in zip(header, cells, strict=False)})
            number = begin + 2 + reader.line_num
    except csv.Error as error:
        raise ParseError(f"the row that begins here is not CSV: {error}.", number) from None


def _separator(header: str) -> str:
    """What separates the columns of a header; empty when it is no header of ours."""
    for separator in ",\t;":
        names = {*_names(header, separator)}
        if names & {*_DIALOGUE} or (names & {*_SPEAKER} and names & {*_TEXT}):
            return separator
    return ""


def _names(header: str, separator: str) -> list[str]:
    return [name.strip().strip('"').strip().lower() for name in header.split(separator)]


# What a careless cut leaves of `甄嬛（许愿）：` in the text.
_LOST_ACTION = re.compile(r"^[^（()）。！？!?]{1,40}[）)][，,]?[：:；]\s*")
