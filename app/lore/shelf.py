"""Several books in one order: SillyTavern's strategies for global and character books, the chat's own first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.lore.entry import Entry, Source, Strategy


@dataclass(frozen=True, slots=True)
class Book:
    """A book by its name, where it comes from, and its entries."""

    name: str
    source: Source
    entries: Sequence[Entry]


def arrange(books: Iterable[Book], strategy: Strategy = "character_first") -> tuple[Entry, ...]:
    """The entries of all books in the order they are tried in: descending `order`, ties by book, then as given."""
    by_source: dict[Source, list[Entry]] = {"global": [], "character": [], "chat": []}
    for book in books:
        by_source[book.source] += book.entries
    world, own, chat = (_sorted(by_source[source]) for source in ("global", "character", "chat"))
    if strategy == "evenly":
        return (*chat, *_sorted((*world, *own)))
    return (*chat, *own, *world) if strategy == "character_first" else (*chat, *world, *own)


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: -entry.order))
