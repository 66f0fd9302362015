"""A conversation outside of the database: as a value, and as the JSONL that brings back every branch. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from app.text import STORABLE

VERSION = 1
MESSAGES = 20_000
"""Most messages of one file."""
LEVELS = 5_000
"""Most messages on one branch."""


class ArchiveError(ValueError):
    """A file that can't be read; `line` is the number of the line, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Happened:
    """What moved the bond after a message: an `event`, or what was `judged`, adds `numbers`, a `set` puts them."""

    kind: str
    name: str
    numbers: Mapping[str, float]
    note: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a person made of the memory of an exchange: other words, another weight (0..1), a pin, or nothing at all."""

    text: str | None = None
    importance: float | None = None
    pinned: bool = False
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A message. `key` names it, `parent` one above it; copies of one another have the same `origin`, which may be the
    key of one of them. `emotion` has 8 values. `memory` is that of the exchange which a reply ends, where a person
    changed it. In a group `speaker` is the slug of the member who said it, and `heard_by` are those of who was there.
    """

    key: str
    parent: str | None
    role: Literal["user", "assistant"]
    text: str
    created_at: datetime | None = None
    name: str | None = None
    outcome: str = "finished"
    origin: str | None = None
    emotion: tuple[float, ...] | None = None
    deleted_at: datetime | None = None
    happened: tuple[Happened, ...] = ()
    memory: Kept | None = None
    speaker: str | None = None
    heard_by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """A conversation with all its branches, parents first. `left_out` counts what could not be taken over."""

    messages: tuple[Told, ...]
    leaf: str | None = None
    character: str = ""
    user: str | None = None
    title: str = ""
    note: str = ""
    note_depth: int = 4
    pinned: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    left_out: int = 0


M = TypeVar("M", bound=BaseModel)


def _in_utc(moment: datetime) -> datetime:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is out of range") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]
Short = Annotated[str, StringConstraints(max_length=100)]


class _Head(BaseModel):
    moodline: Literal["session"]
    version: Literal[1]
    character: Annotated[str, StringConstraints(max_length=100), STORABLE] = ""
    user: Annotated[str, StringConstraints(max_length=200), STORABLE] = ""
    title: Annotated[str, StringConstraints(max_length=200), STORABLE] = ""
    note: Annotated[str, StringConstraints(max_length=20_000), STORABLE] = ""
    note_depth: int = Field(default=4, ge=0, le=1000)
    pinned: bool = False
    created_at: Moment | None = None
    updated_at: Moment | None = None
    leaf: Short | None = None


class _Happened(BaseModel):
    kind: Literal["event", "set", "judged"]
    name: Annotated[str, StringConstraints(max_length=100), STORABLE] = ""
    numbers: Annotated[dict[Annotated[Short, STORABLE], FiniteFloat], Field(max_length=51)]
    note: Annotated[str, StringConstraints(max_length=2_000), STORABLE] = ""
    created_at: Moment | None = None


class _Kept(BaseModel):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000), STORABLE] | None = (
        None
    )
    importance: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    pinned: bool = False
    forgotten: bool = False


class _Line(BaseModel):
    model_config = ConfigDict(strict=False)

    id: Short
    parent: Short | None = None
    origin: Short | None = None
    role: Literal["user", "assistant"]
    name: Annotated[str, StringConstraints(max_length=64), STORABLE] | None = None
    text: Annotated[str, STORABLE]
    outcome: Annotated[str, StringConstraints(max_length=16), STORABLE] = "finished"
    created_at: Moment | None = None
    deleted_at: Moment | None = None
    emotion: Annotated[list[FiniteFloat], Field(min_length=8, max_length=8)] | None = None
    happened: Annotated[list[_Happened], Field(max_length=1_000)] = []
    memory: _Kept | None = None
    speaker: Annotated[Short, STORABLE] | None = None
    heard_by: Annotated[list[Annotated[Short, STORABLE]], Field(max_length=200)] | None = None


def write(archive: Archive) -> Iterator[str]:
    """The lines of a file: a head, then a message each."""
    head: dict[str, Any] = {
        "moodline": "session",
        "version": VERSION,
        "character": archive.character,
        "user": archive.user or "",
        "title": archive.title,
        "note": archive.note,
        "note_depth": archive.note_depth,
        "pinned": archive.pinned,
        "created_at": archive.created_at,
        "updated_at": archive.updated_at,
        "leaf": archive.leaf,
    }
    yield _line(head)
    for told in archive.messages:
        yield _line(
            {
                "id": told.key,
                "parent": told.parent,
                "origin": told.origin,
                "role": told.role,
                "name": told.name,
                "text": told.text,
                "outcome": told.outcome,
                "created_at": told.created_at,
                "deleted_at": told.deleted_at,
                "emotion": None if told.emotion is None else list(told.emotion),
                **({"happened": [asdict(one) for one in told.happened]} if told.happened else {}),
                **({"memory": asdict(told.memory)} if told.memory else {}),
                **({} if told.heard_by is None else {"speaker": told.speaker, "heard_by": list(told.heard_by)}),
            }
        )


def read(lines: Sequence[str], longest: int) -> Archive:
    """The conversation of a file whose messages have at most `longest` characters; raises `ArchiveError`."""
    head = parse(_Head, lines[0], 1)
    tree = Tree(longest)
    for number, line in numbered(lines[1:], 2):
        row = parse(_Line, line, number)
        told = Told(
            key=row.id,
            parent=row.parent,
            role=row.role,
            text=row.text,
            created_at=row.created_at,
            name=row.name or None,
            outcome=row.outcome,
            origin=row.origin,
            emotion=None if row.emotion is None else tuple(row.emotion),
            deleted_at=row.deleted_at,
            happened=tuple(Happened(**one.model_dump()) for one in row.happened),
            memory=Kept(**row.memory.model_dump()) if row.memory else None,
            speaker=row.speaker,
            heard_by=None if row.heard_by is None else tuple(row.heard_by),
        )
        tree.add(told, number)
    if head.leaf is not None and head.leaf not in tree.levels:
        raise ArchiveError(1, f"the leaf {head.leaf!r} is not in the file.")
    return Archive(
        messages=tuple(tree.messages),
        leaf=head.leaf,
        character=head.character,
        user=head.user,
        title=head.title,
        note=head.note,
        note_depth=head.note_depth,
        pinned=head.pinned,
        created_at=head.created_at,
        updated_at=head.updated_at,
    )


@dataclass(slots=True)
class Tree:
    """Messages as they come, checked to hang together and to keep to the limits."""

    longest: int
    messages: list[Told] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)

    def add(self, told: Told, number: int) -> None:
        """Take a message of a line; raises `ArchiveError`."""
        if told.key in self.levels:
            raise ArchiveError(number, f"there is a message {told.key!r} already.")
        if told.parent is not None and told.parent not in self.levels:
            raise ArchiveError(number, f"what it hangs below, {told.parent!r}, is not above it in the file.")
        if not told.text.strip():
            raise ArchiveError(number, "the message is empty.")
        if len(told.text) > self.longest:
            raise ArchiveError(number, f"the message has {len(told.text):,} characters; the limit is {self.longest:,}.")
        level = 1 if told.parent is None else self.levels[told.parent] + 1
        if level > LEVELS:
            raise ArchiveError(number, f"the branch is longer than {LEVELS:,} messages.")
        if len(self.messages) == MESSAGES:
            raise ArchiveError(number, f"there are more than {MESSAGES:,} messages.")
        self.levels[told.key] = level
        self.messages.append(told)


def numbered(lines: Iterable[str], first: int) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers."""
    return ((number, line) for number, line in enumerate(lines, first) if line.strip())


def parse(kind: type[M], line: str, number: int) -> M:
    """A line as a value; raises `ArchiveError`."""
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ArchiveError(number, f"{where + ': ' if where else ''}{fault['msg']}.") from None


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, default=datetime.isoformat) + "\n"
