"""SillyTavern's chat files: JSONL with a head, then a message a line with its swipes. Pure.

Source: SillyTavern 1.12.6, public/script.js (`saveChat`, `getChat`), src/endpoints/chats.js. Read leniently: fields may
be missing, a head too; dates come in every form that its versions have written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from app.characters.macros import fill_names
from app.sessions.archive import Archive, ArchiveError, Told, Tree, numbered, parse
from app.text import STORABLE

SWIPES = 200
"""Most versions of one message."""
_HUMANIZED = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})\s*@\s*(\d{1,2})h\s*(\d{1,2})m\s*(\d{1,2})s(?:\s*(\d{1,3})ms)?")
_WORDED = ("%B %d, %Y %I:%M%p", "%B %d, %Y %H:%M")
LAST_YEAR = 9000
MILLISECONDS = 10_000_000_000
"""A number above this counts milliseconds, not seconds."""

Name = Annotated[str, StringConstraints(max_length=200), STORABLE]


class _Metadata(BaseModel):
    note_prompt: Annotated[str, StringConstraints(max_length=20_000), STORABLE] | None = None
    note_depth: int | None = None


class _Head(BaseModel):
    user_name: Name | None = None
    character_name: Name | None = None
    create_date: Any = None
    chat_metadata: _Metadata | None = None


class _Line(BaseModel):
    name: Name | None = None
    is_user: bool | None = None
    is_system: bool | None = None
    mes: Annotated[str, STORABLE] | None = None
    send_date: Any = None
    swipes: Annotated[list[Annotated[str, STORABLE] | None], Field(max_length=SWIPES)] | None = None
    swipe_id: int | None = None


def write(archive: Archive, names: tuple[str, str]) -> Iterator[str]:
    """The current branch of a conversation, with other replies as swipes; `names` are the user's and the character's.

    What follows another swipe than the current one, and deleted messages, have no place in such a file.
    """
    user, character = names
    begun = _written(archive.created_at)
    metadata = {"note_prompt": archive.note, "note_depth": archive.note_depth, "note_interval": 1, "note_position": 1}
    head = {"user_name": user, "character_name": character, "create_date": begun, "chat_metadata": metadata}
    yield json.dumps(head, ensure_ascii=False) + "\n"
    by_key = {told.key: told for told in archive.messages}
    branch: list[Told] = []
    told = by_key.get(archive.leaf or "")
    while told is not None:
        branch.append(told)
        told = by_key.get(told.parent or "")
    for told in reversed(branch):
        is_user = told.role == "user"
        line: dict[str, Any] = {
            "name": told.name or (user if is_user else character),
            "is_user": is_user,
            "is_system": False,
            "send_date": _written(told.created_at),
            "mes": told.text,
            "extra": {},
        }
        if not is_user:
            versions = [
                one
                for one in archive.messages
                if one.parent == told.parent and one.role == told.role and one.deleted_at is None
            ]
            line |= {"swipes": [one.text for one in versions], "swipe_id": versions.index(told)}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def read(lines: Sequence[str], longest: int) -> Archive:
    """The conversation of a file whose messages have at most `longest` characters; raises `ArchiveError`.

    What SillyTavern hides from the language model (`is_system`) and empty messages are left out and counted.
    """
    head, first = _Head(), 0
    if '"mes"' not in lines[0]:
        head, first = parse(_Head, lines[0], 1), 1
    tree, parent, left_out = Tree(longest), None, 0
    moment: datetime | None = None
    for number, line in numbered(lines[first:], first + 1):
        row = parse(_Line, line, number)
        if row.mes is None:
            raise ArchiveError(number, "there is no `mes`, the text of a message.")
        if row.is_system or not row.mes.strip():
            left_out += 1
            continue
        moment = _moment(row.send_date) or moment
        parent = _add(tree, row, number, parent, head, moment)
    if not head.model_fields_set and not left_out and parent is None:
        raise ArchiveError(
            1, "this is neither an export of ours nor a SillyTavern chat, whose messages have `mes` and `is_user`."
        )
    metadata = head.chat_metadata or _Metadata()
    return Archive(
        messages=tuple(tree.messages),
        leaf=parent,
        note=(metadata.note_prompt or "").strip(),
        note_depth=min(1000, max(0, 4 if metadata.note_depth is None else metadata.note_depth)),
        created_at=_moment(head.create_date),
        left_out=left_out,
    )


def _add(tree: Tree, row: _Line, number: int, parent: str | None, head: _Head, moment: datetime | None) -> str:
    """Take a message and its swipes; returns the key of the one that is current."""
    current = row.mes or ""
    swipes = [text for text in row.swipes or () if text is not None and text.strip()]
    chosen = row.swipe_id if row.swipe_id is not None and 0 <= row.swipe_id < len(swipes) else len(swipes)
    # The text of the message counts; a swipe that was edited may not have been brought up to date.
    versions = [*swipes[:chosen], current, *swipes[chosen + 1 :]] if not row.is_user else [current]
    name = None if row.is_user or row.name in (None, "", head.character_name) else (row.name or "")[:64]
    chosen = chosen if not row.is_user else 0
    for place, text in enumerate(versions):
        filled = fill_names(text, head.character_name or row.name or "", head.user_name or "")
        told = Told(
            key=f"{number}.{place}",
            parent=parent,
            role="user" if row.is_user else "assistant",
            text=filled if head.character_name or head.user_name else text,
            # So that they stay in their order.
            created_at=moment and moment + timedelta(microseconds=place),
            name=name,
        )
        tree.add(told, number)
    return f"{number}.{chosen}"


def _written(moment: datetime | None) -> str:
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(written: Any) -> datetime | None:
    """A date in any of the forms that SillyTavern has written; None for any other."""
    moment = _parsed(written)
    return moment if moment is not None and 1 < moment.year < LAST_YEAR else None


def _parsed(written: Any) -> datetime | None:
    try:
        if isinstance(written, int | float):
            return datetime.fromtimestamp(written / 1000 if written > MILLISECONDS else written, UTC)
        if not isinstance(written, str):
            return None
        if found := _HUMANIZED.match(written.strip()):
            year, month, day, hour, minute, second, millisecond = (int(part or 0) for part in found.groups())
            return datetime(year, month, day, hour, minute, second, millisecond * 1000, UTC)
        return _worded(written.strip()) or _iso(written.strip())
    except (ValueError, OverflowError, OSError):
        return None


def _worded(written: str) -> datetime | None:
    for form in _WORDED:
        try:
            return datetime.strptime(written, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _iso(written: str) -> datetime:
    moment = datetime.fromisoformat(written)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
