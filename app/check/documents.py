"""JSON documents that can no longer be read: of characters, lore and its books, lines and traces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Text as Characters
from sqlalchemy import cast, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.characters.schemas import CharacterFields, LoreEntryIn, LoreSettings
from app.check.run import AnyRow, Check, Query
from app.lore.replay import read_timers
from app.tables import (
    Character,
    CharacterRevision,
    Line,
    Lorebook,
    LorebookEntry,
    LoreEntry,
    LoreTimers,
    Trace,
    now,
)

DAMAGED = "damaged"
"""The name under which what can't be read is kept."""


def documents() -> Iterator[Check]:
    """A check for each kind of document."""
    yield Check(
        "characters that can't be read",
        _texts(Character.id, Character.document),
        Character.id,
        _unreadable(CharacterFields.model_validate_json),
        _mend_character,
    )
    yield from _lore()
    yield Check("lines that can't be read", _texts(Line.id, Line.dialogue), Line.id, _unreadable(_dialogue), _mend_line)
    yield Check(
        "traces that can't be read", _texts(Trace.id, Trace.document), Trace.id, _unreadable(_object), _mend_trace
    )


def _lore() -> Iterator[Check]:
    yield Check(
        "lore that can't be read",
        _texts(LoreEntry.id, LoreEntry.document),
        LoreEntry.id,
        _unreadable(LoreEntryIn.model_validate_json),
        _mend_lore,
    )
    yield Check(
        "lorebooks that can't be read",
        _texts(Lorebook.id, Lorebook.settings),
        Lorebook.id,
        _unreadable(LoreSettings.model_validate_json),
        _mend_book,
    )
    yield Check(
        "lorebook entries that can't be read",
        _texts(LorebookEntry.id, LorebookEntry.document),
        LorebookEntry.id,
        _unreadable(LoreEntryIn.model_validate_json),
        _mend_book_entry,
    )
    yield Check(
        "timers of lore that can't be read",
        _texts(LoreTimers.message_id, LoreTimers.document),
        LoreTimers.message_id,
        _unreadable(_timers),
        _mend_timers,
    )


def fields_of(text: str) -> CharacterFields | None:
    """The character of a document's text, None when it can't be read."""
    try:
        return CharacterFields.model_validate_json(text)
    except ValidationError:
        return None


def _texts(key: Any, document: Any) -> Query:
    # As text: SQLite hands out whatever is there, and the driver would break off at what is no JSON.
    return select(key.label("key"), cast(document, Characters).label("text"))


def _unreadable(parse: Callable[[str], Any]) -> Callable[[AnyRow], str]:
    def fault(row: AnyRow) -> str:
        try:
            parse(row.text or "")
        except ValidationError as error:
            first = error.errors()[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except ValueError as error:
            return str(error)
        return ""

    return fault


def _object(text: str) -> None:
    if not isinstance(json.loads(text), dict):
        raise ValueError("no object")


def _dialogue(text: str) -> None:
    told = json.loads(text)
    pairs = isinstance(told, list) and all(isinstance(turn, list) and len(turn) == 2 for turn in told)
    if not pairs or not all(isinstance(part, str) for turn in told for part in turn):
        raise ValueError("no list of speakers and what they say")


def _timers(text: str) -> None:
    try:
        read_timers(json.loads(text))
    except (AttributeError, KeyError, TypeError):
        raise ValueError("no timers by the ids of entries") from None


async def _mend_character(db: AsyncSession, row: AnyRow) -> None:
    """The newest revision that can be read holds again; what can't be read is kept as a revision before it."""
    earlier = await db.execute(
        select(CharacterRevision.revision, cast(CharacterRevision.document, Characters).label("text"))
        .where(CharacterRevision.character_id == row.key)
        .order_by(CharacterRevision.revision.desc())
    )
    revisions = earlier.all()
    readable = next((fields for revision in revisions if (fields := fields_of(revision.text))), None)
    fields = readable or CharacterFields(name=DAMAGED, persona=row.text or DAMAGED)
    top = max([revision.revision for revision in revisions], default=0)
    document = fields.model_dump()
    db.add(CharacterRevision(character_id=row.key, revision=top + 1, document={DAMAGED: row.text}))
    db.add(CharacterRevision(character_id=row.key, revision=top + 2, document=document))
    changed = {"document": document, "revision": top + 2, "updated_at": now()}
    await db.execute(update(Character).where(Character.id == row.key).values(changed))


async def _mend_lore(db: AsyncSession, row: AnyRow) -> None:
    await db.execute(update(LoreEntry).where(LoreEntry.id == row.key).values(document=_kept_as_lore(row)))


async def _mend_book(db: AsyncSession, row: AnyRow) -> None:
    """It is read by the default settings; what can't be read is kept beside its entries."""
    db.add(LorebookEntry(lorebook_id=row.key, place=-1, document=_kept_as_lore(row)))
    book = update(Lorebook).where(Lorebook.id == row.key)
    await db.execute(book.values(settings=LoreSettings().model_dump(), revision=Lorebook.revision + 1))


async def _mend_book_entry(db: AsyncSession, row: AnyRow) -> None:
    mine = LorebookEntry.id == row.key
    await db.execute(update(LorebookEntry).where(mine).values(document=_kept_as_lore(row)))
    book = select(LorebookEntry.lorebook_id).where(mine).scalar_subquery()
    await db.execute(update(Lorebook).where(Lorebook.id == book).values(revision=Lorebook.revision + 1))


def _kept_as_lore(row: AnyRow) -> dict[str, Any]:
    """What can't be read, as the text of an entry that is switched off."""
    return LoreEntryIn(name=DAMAGED, content=(row.text or "")[:20_000], enabled=False).model_dump()


async def _mend_timers(db: AsyncSession, row: AnyRow) -> None:
    await db.execute(update(LoreTimers).where(LoreTimers.message_id == row.key).values(document={DAMAGED: row.text}))


async def _mend_line(db: AsyncSession, row: AnyRow) -> None:
    """The two texts that the unit is found by hold all that was said, only without the speakers' names."""
    key, answer = (await db.execute(select(Line.key, Line.answer).where(Line.id == row.key))).one()
    await db.execute(update(Line).where(Line.id == row.key).values(dialogue=[["", key], ["", answer]]))


async def _mend_trace(db: AsyncSession, row: AnyRow) -> None:
    await db.execute(update(Trace).where(Trace.id == row.key).values(document={DAMAGED: row.text}))
