"""The books of a turn: the character's own lore, and the lorebooks that are for this character and this user."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.lore.cache import IndexCache
from app.lore.document import entry_of, read_by
from app.lore.entry import DEFAULTS, Entry, Settings
from app.lore.index import Index
from app.lore.quirks import OURS
from app.lore.shelf import Book, arrange
from app.tables import SHARED, Character, Lorebook, LorebookEntry, LoreEntry

OWN = "character"
"""The name of a character's own book, in the ids of its entries."""
MAX_BOOKS = 50


@dataclass(frozen=True, slots=True)
class Books:
    """What names the books and their revisions, how they are read together, and their index or what it is made of."""

    key: Hashable
    settings: Settings
    index: Index | None
    shelf: tuple[Book, ...]


def settings_of(document: dict[str, Any]) -> Settings:
    """How a book is read, by its stored settings."""
    known = {name: value for name, value in document.items() if name in Settings.__slots__ and name != "budget"}
    return replace(DEFAULTS, **known)


async def books_of(db: AsyncSession, cache: IndexCache, owner: str, user: str, character: Character) -> Books:
    """The books that are open in a conversation; entries are read only where no index of these revisions is kept."""
    query = (
        select(Lorebook)
        .where(
            Lorebook.owner.in_([owner, SHARED]),
            Lorebook.enabled,
            or_(Lorebook.user.is_(None), Lorebook.user == user),
            or_(Lorebook.character_id.is_(None), Lorebook.character_id == character.id),
        )
        .order_by(Lorebook.created_at, Lorebook.id)
        .limit(MAX_BOOKS)
    )
    rows = list(await db.scalars(query))
    own = settings_of(character.document.get("lore_settings", {}))
    each = [own, *(settings_of(row.settings) for row in rows)]
    together = replace(
        DEFAULTS,
        recursive=any(one.recursive for one in each),
        min_activations=max(one.min_activations for one in each),
        max_depth=max(one.max_depth for one in each),
    )
    key = (character.id, character.revision, *((row.id, row.revision) for row in rows))
    index = cache.get(key)
    if index is not None:
        return Books(key, together, index, ())
    shelf = [Book(OWN, "character", _read(await _own_entries(db, character.id), own, together))]
    for row, settings in zip(rows, each[1:], strict=True):
        entries = _read(await entries_of(db, row.id), settings, together)
        shelf.append(Book(row.id, "character" if row.character_id else "global", entries))
    return Books(key, together, None, tuple(shelf))


def make_index(shelf: Sequence[Book]) -> Index:
    """The index of a turn's books."""
    return Index(arrange(shelf), DEFAULTS, OURS)


async def _own_entries(db: AsyncSession, character_id: str) -> list[Entry]:
    query = select(LoreEntry).where(LoreEntry.character_id == character_id)
    rows = await db.scalars(query.order_by(LoreEntry.place, LoreEntry.id))
    return [entry_of(str(row.id), row.document, OWN) for row in rows]


async def entries_of(db: AsyncSession, lorebook_id: str) -> list[Entry]:
    """The entries of a lorebook in their order."""
    query = select(LorebookEntry).where(LorebookEntry.lorebook_id == lorebook_id)
    rows = await db.scalars(query.order_by(LorebookEntry.place, LorebookEntry.id))
    return [entry_of(str(row.id), row.document, lorebook_id) for row in rows]


def _read(entries: Sequence[Entry], settings: Settings, together: Settings) -> list[Entry]:
    """Entries as their book reads them: one that is not recursive neither calls others nor is called."""
    read = [read_by(entry, settings) for entry in entries]
    if together.recursive and not settings.recursive:
        return [replace(entry, exclude_recursion=True, prevent_recursion=True) for entry in read]
    return read
