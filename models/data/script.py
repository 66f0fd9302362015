"""Scripts: scenes in which people speak, read from texts, tables and JSON of many makers.

- texts with headings and `角色（动作）：台词` or `NAME (action): line`, and screenplays: `models/data/script_text.py`
- rows of {act_id, diag_id, role, content} (RoleGLM): an act is a scene, 旁白 and the like are directions
- Index-1.9B's dialogues: a csv with 对话, or a JSON array of {role_name, role_info, dialog}
- CoSER's JSON (2502.09082): plots with conversations, `[thought] (action) speech`, profiles and motivations
- CPED's csv (2205.14727): Dialogue_ID, Speaker, Utterance
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from models.data.rows import Row, read_rows, read_text
from models.data.script_text import parts
from models.example import BadRow

NARRATORS = frozenset({"旁白", "画外音", "字幕", "narrator", "narration", "environment", ""})


@dataclass(frozen=True, slots=True)
class Line:
    """What one says: `text` is heard, with inner actions in brackets; `action` is seen; `thought` is nobody else's.

    Without a `speaker` it is a direction.
    """

    speaker: str
    text: str
    action: str = ""
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Staged:
    """One scene. `minds` says what moves each of the people in it, which nobody else knows; `people`, who they are."""

    title: str
    lines: tuple[Line, ...]
    place: str = ""
    minds: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """Scenes in their order, and who the people are, as far as the file says it."""

    name: str
    scenes: tuple[Staged, ...]
    personas: Mapping[str, str] = field(default_factory=dict)

    def speakers(self) -> Counter[str]:
        """How many lines each has."""
        return Counter(line.speaker for scene in self.scenes for line in scene.lines if line.speaker)


def read_script(path: Path) -> Script:
    """The script in a file, whose form is told by its ending and its beginning.

    Raises BadRow where it is damaged or nobody speaks in it, and OSError.
    """
    match path.suffix.lower():
        case ".csv" | ".tsv":
            script = _table(path)
        case ".jsonl" | ".ndjson":
            script = Script(path.stem, tuple(_acts(path)))
        case ".json":
            script = _json(path)
        case _:
            found = parts(read_text(path).split("\n"))
            script = Script(path.stem, tuple(_staged(part.heading, part.place, _spoken(part)) for part in found))
    if not script.speakers():
        raise BadRow(path, 1, "nobody speaks in it; expected `NAME: line`, rows of role and content, or a table.")
    return script


def split(said: str) -> tuple[str, str, str]:
    """Thought, action and speech of `[thought] (action) speech`, however they are ordered at its beginning.

    Thoughts further on are taken out too; actions there stay where they stand. What a careless cut left of an action
    (`许愿）：信女…`) is one.
    """
    thoughts = [*re.findall(r"\[([^\[\]]*)\]", said)]
    text = re.sub(r"\s*\[[^\[\]]*\]\s*", " ", said).strip()
    actions: list[str] = []
    while found := _ACTION.match(text):
        actions.append(next(filter(None, found.groups()), "").strip())
        text = text[found.end() :]
    if lost := _LOST.match(text):
        actions.append(lost[1])
        text = text[lost.end() :]
    return " ".join(filter(None, map(str.strip, thoughts))), "，".join(filter(None, actions)), text.strip()


def without_actions(text: str) -> str:
    """`text` without what stands in round brackets."""
    return _INNER.sub("", text).strip()


_ACTION = re.compile(r"(?:（([^（）]*)）|\(([^()]*)\))\s*")
_INNER = re.compile(r"（[^（）]*）|\s?\([^()]*\)")
_LOST = re.compile(r"([^（()）。！？!?]{1,40})[）)][，,]?[：:；]\s*")


def _staged(title: str, place: str, lines: Iterable[Line]) -> Staged:
    return Staged(title, tuple(line for line in lines if line.text or line.action or line.thought), place)


def _spoken(part: Any) -> Iterator[Line]:
    for speech in part.speeches:
        _, action, text = split(speech.text)
        yield Line(speech.name, text, "，".join(filter(None, (speech.action, action))))


def _line(speaker: str, said: str) -> Line:
    if speaker.strip().lower() in NARRATORS:
        return Line("", said.strip())
    thought, action, text = split(said)
    return Line(" ".join(speaker.split()), text, action, thought)


def _acts(path: Path) -> Iterator[Staged]:
    """Acts of {act_id, role, content} rows. A direction before the first line is the place."""
    rows = read_rows(path)
    for act, group in groupby(rows, key=lambda row: str(row.fields.get("act_id", row.fields.get("scene", 0)))):
        lines = [_line(row.text("role", empty=True), row.text("content", empty=True)) for row in group]
        first = next((place for place, line in enumerate(lines) if line.speaker), len(lines))
        yield _staged(act, " ".join(line.text for line in lines[:first]), lines[first:])


def _json(path: Path) -> Script:
    try:
        found = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadRow(path, getattr(error, "lineno", 1), f"expected JSON ({error}).") from None
    if isinstance(found, dict) and isinstance(found.get("plots"), list):
        return _coser(Row(path, 1, found))
    rows = list(read_rows(path))
    if rows and "dialog" in rows[0].fields:
        scenes = [_staged(str(number), "", _named(row, row.items("dialog"))) for number, row in enumerate(rows)]
        return Script(path.stem, tuple(scenes), {row.text("role_name"): row.text("role_info") for row in rows})
    if rows and {"role", "content"} <= set(rows[0].fields):
        return Script(path.stem, tuple(_acts(path)))
    raise BadRow(path, 1, "expected CoSER's plots, Index's dialogues (dialog), or rows of role and content.")


def _named(row: Row, said: Sequence[Any]) -> list[Line]:
    """`name：line` texts. Raises BadRow where one names nobody."""
    lines = []
    for text in said:
        name, *words = _COLON.split(row.checked(text, "dialog"), maxsplit=1)
        if not words or not name.strip():
            raise row.fault(f"{text[:40]!r} names no speaker; expected `name：line`.")
        lines.append(_line(name, words[0]))
    return lines


_COLON = re.compile("[:：]")


def _table(path: Path) -> Script:
    """Index's or CPED's csv."""
    text = read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    names = {*(reader.fieldnames or ())}
    dialogue = next((name for name in ("对话", "dialogue") if name in names), "")
    if not dialogue and not {"Dialogue_ID", "Speaker", "Utterance"} <= names:
        raise BadRow(path, 1, "expected a column 对话 or dialogue, or CPED's Dialogue_ID, Speaker and Utterance.")
    try:
        rows = [Row(path, reader.line_num, {key: cell or "" for key, cell in cells.items() if key}) for cells in reader]
    except csv.Error as error:
        raise BadRow(path, reader.line_num, f"this is not CSV: {error}.") from None
    if dialogue:
        told = [(row, [said for said in row.fields[dialogue].split("\n") if said.strip()]) for row in rows]
        scenes = [_staged(str(n), "", _named(row, said)) for n, (row, said) in enumerate(told)]
        return Script(path.stem, tuple(scenes))
    return Script(path.stem, tuple(_cped(rows)))


def _cped(rows: Iterable[Row]) -> Iterator[Staged]:
    for name, group in groupby(rows, key=lambda row: str(row.fields["Dialogue_ID"])):
        members = list(group)
        places = [row.fields.get("Scene", "") for row in members]
        place = places[0] if places[0] not in ("other-venue", "unknown") else ""
        yield _staged(name, place, [_line(row.text("Speaker"), row.text("Utterance", empty=True)) for row in members])


def _coser(book: Row) -> Script:
    scenes = []
    for number, plot in enumerate(book.objects("plots")):
        inner = Row(book.path, book.line, plot)
        about = {str(one.get("name")): str(one.get("description") or "") for one in inner.objects("key_characters")}
        for place, talk in enumerate(inner.objects("conversation")):
            row = Row(book.path, book.line, talk)
            said = [Row(book.path, book.line, item) for item in row.objects("dialogues")]
            lines = [_line(one.text("character"), one.text("message")) for one in said]
            minds = {
                str(person.get("name")): str(person.get("motivation") or person.get("thought") or "")
                for person in row.objects("key_characters")
            }
            title = f"{number}-{place}"
            scenes.append(Staged(title, tuple(lines), row.text("scenario", empty=True), minds, about))
    people = book.fields.get("character_datasets")
    known = people if isinstance(people, dict) else {}
    personas = {
        name: str(one["profile"]) for name, one in known.items() if isinstance(one, dict) and one.get("profile")
    }
    return Script(book.path.stem, tuple(scenes), personas)
