"""Lorebooks in the database: whose they are, and how they change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller
from app.characters.schemas import LoreEntryIn
from app.characters.store import find as find_character
from app.errors import Forbidden, NotFound, Unprocessable
from app.etag import check_revision
from app.lore.schemas import MAX_ENTRIES, LorebookCreate, LorebookEntryOut, LorebookFields, LorebookOut
from app.tables import LARGEST_ID, SHARED, Character, Lorebook, LorebookEntry, now


async def find(db: AsyncSession, caller: Caller, lorebook_id: str, *, lock: bool = False) -> Lorebook:
    """A lorebook of the caller's or everyone's; raises `NotFound`."""
    query = select(Lorebook).where(Lorebook.id == lorebook_id, Lorebook.owner.in_([caller.owner, SHARED]))
    found: Lorebook | None = await db.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound("There is no such lorebook. GET /api/lorebooks lists yours.", code="lorebook_not_found")
    return found


async def find_to_change(db: AsyncSession, caller: Caller, lorebook_id: str, if_match: str | None) -> Lorebook:
    """A lorebook that the caller may change, at the revision it names.

    Raises:
        NotFound, Forbidden: it isn't there, or is everyone's and the caller no admin.
        RevisionMissing, StaleRevision: `If-Match` is absent, or someone else was faster.
    """
    book = await find(db, caller, lorebook_id, lock=True)
    if book.owner == SHARED and not caller.admin:
        raise Forbidden("This lorebook is everyone's on this server; changing it needs an admin key.")
    check_revision("The lorebook", book.revision, if_match)
    return book


async def create(db: AsyncSession, caller: Caller, body: LorebookCreate) -> Lorebook:
    """Add a lorebook with its entries; raises `NotFound` when its character isn't there."""
    if body.shared and not caller.admin:
        raise Forbidden("Shared lorebooks need an admin key (`moodline keys create NAME --admin`).")
    book = Lorebook(owner=SHARED if body.shared else caller.owner, name=body.name, settings={})
    await assign(db, caller, book, body)
    db.add(book)
    await db.flush()
    add_entries(db, book, body.entries, 0)
    await db.flush()
    return book


async def assign(db: AsyncSession, caller: Caller, book: Lorebook, fields: LorebookFields) -> None:
    """Give a lorebook other fields; raises `NotFound` when its character isn't there."""
    if book.owner == SHARED and fields.user is not None:
        raise Unprocessable("A shared lorebook is for all users: users are each owner's own.", param="user")
    book.name, book.user, book.enabled = fields.name, fields.user, fields.enabled
    book.settings = fields.settings.model_dump()
    book.character_id = (await find_character(db, caller, fields.character)).id if fields.character else None


def revise(book: Lorebook) -> None:
    """Count a change."""
    book.revision += 1
    book.updated_at = now()


def add_entries(db: AsyncSession, book: Lorebook, entries: Iterable[LoreEntryIn], place: int) -> list[LorebookEntry]:
    """Add entries from a place on; the caller has flushed the book."""
    rows = [
        LorebookEntry(lorebook_id=book.id, place=place + number, document=entry.model_dump())
        for number, entry in enumerate(entries)
    ]
    db.add_all(rows)
    return rows


async def append_entries(db: AsyncSession, book: Lorebook, entries: Sequence[LoreEntryIn]) -> list[LorebookEntry]:
    """Add entries at the end; raises `Unprocessable` when there would be too many."""
    query = select(func.count(), func.coalesce(func.max(LorebookEntry.place), -1))
    count, last = (await db.execute(query.where(LorebookEntry.lorebook_id == book.id))).one()
    if count + len(entries) > MAX_ENTRIES:
        raise Unprocessable(f"A lorebook holds at most {MAX_ENTRIES} entries; this one has {count}.")
    rows = add_entries(db, book, entries, last + 1)
    await db.flush()
    return rows


async def replace_entries(db: AsyncSession, book: Lorebook, entries: Iterable[LoreEntryIn]) -> list[LorebookEntry]:
    """Give a lorebook other entries."""
    await db.execute(delete(LorebookEntry).where(LorebookEntry.lorebook_id == book.id))
    rows = add_entries(db, book, entries, 0)
    await db.flush()
    return rows


async def rows_of(db: AsyncSession, book: Lorebook) -> list[LorebookEntry]:
    """The rows of a lorebook's entries in their order."""
    query = select(LorebookEntry).where(LorebookEntry.lorebook_id == book.id)
    return list(await db.scalars(query.order_by(LorebookEntry.place, LorebookEntry.id)))


async def find_entry(db: AsyncSession, book: Lorebook, entry_id: str) -> LorebookEntry:
    """One entry of a lorebook; raises `NotFound`."""
    number = int(entry_id) if entry_id.isdecimal() and len(entry_id) < 20 else 0
    row = None
    if number <= LARGEST_ID:
        query = select(LorebookEntry).where(LorebookEntry.id == number, LorebookEntry.lorebook_id == book.id)
        row = await db.scalar(query)
    if row is None:
        raise NotFound("This lorebook has no such entry.", code="entry_not_found")
    return row


async def order_entries(db: AsyncSession, book: Lorebook, ids: Sequence[str]) -> None:
    """Put the named entries first, in this order; the others follow in theirs. Raises `NotFound` for one not there."""
    rows = {str(row.id): row for row in await rows_of(db, book)}
    for id_ in ids:
        if id_ not in rows:
            await find_entry(db, book, id_)
    for place, id_ in enumerate(dict.fromkeys((*ids, *rows))):
        rows[id_].place = place


def show_entry(row: LorebookEntry) -> LorebookEntryOut:
    """An entry as the API tells it."""
    return LorebookEntryOut(id=str(row.id), **row.document)


async def show(db: AsyncSession, books: Sequence[Lorebook]) -> list[LorebookOut]:
    """Lorebooks as the API tells them."""
    ids = [book.id for book in books]
    counted = await db.execute(
        select(LorebookEntry.lorebook_id, func.count())
        .where(LorebookEntry.lorebook_id.in_(ids))
        .group_by(LorebookEntry.lorebook_id)
    )
    counts = {row[0]: row[1] for row in counted}
    characters = select(Character.id, Character.slug).where(Character.id.in_([book.character_id for book in books]))
    slugs = {row.id: row.slug for row in await db.execute(characters)}
    return [
        LorebookOut.model_validate(
            {
                "id": book.id,
                "name": book.name,
                "user": book.user,
                "character": slugs.get(book.character_id) if book.character_id else None,
                "enabled": book.enabled,
                "settings": book.settings,
                "shared": book.owner == SHARED,
                "revision": book.revision,
                "entries": counts.get(book.id, 0),
                "created_at": book.created_at,
                "updated_at": book.updated_at,
            }
        )
        for book in books
    ]


async def page(db: AsyncSession, caller: Caller, user: str | None, after: str | None, limit: int) -> list[Lorebook]:
    """The caller's lorebooks and everyone's by id, also one more than `limit` where there are more."""
    query = select(Lorebook).where(Lorebook.owner.in_([caller.owner, SHARED]))
    if user is not None:
        query = query.where(or_(Lorebook.user.is_(None), Lorebook.user == user))
    if after:
        query = query.where(Lorebook.id > after)
    return list(await db.scalars(query.order_by(Lorebook.id).limit(limit + 1)))
