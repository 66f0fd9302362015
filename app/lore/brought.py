"""A lorebook of a file: SillyTavern's own world info, or a book as cards have it, `lorebook_v3` among them. Pure."""

from __future__ import annotations

from typing import Any

from app.characters.entries import lore_fields, settings_fields
from app.characters.forms.book import read_book
from app.characters.reading import CardError, Json, Report
from app.characters.schemas import LoreEntryIn, LoreSettings
from app.errors import Unprocessable
from app.lore.document import document_of, fitting
from app.lore.native import read_entries


def read_file(file: Json) -> tuple[str, LoreSettings, list[LoreEntryIn]]:
    """The name of a lorebook, how it is read, and its entries.

    Raises:
        Unprocessable: it is no lorebook, or a text in it is longer than may be.
    """
    try:
        if _is_native(file.get("entries")):
            entries = [LoreEntryIn.model_validate(fitting(document_of(entry))) for entry in read_entries(file)]
            return str(file.get("name") or ""), LoreSettings(), entries
        book = read_book(file, Report())
        entries = [LoreEntryIn.model_validate(lore_fields(entry)) for entry in book["entries"]]
        return str(book.get("name") or ""), LoreSettings.model_validate(settings_fields(book)), entries
    except (ValueError, CardError) as error:
        raise Unprocessable(f"This is no lorebook that can be read: {str(error)[:500]}", code="unreadable") from None


def _is_native(entries: Any) -> bool:
    """Whether entries are SillyTavern's: by number, or in its names for keys."""
    if isinstance(entries, dict):
        return not any(isinstance(entry, dict) and "keys" in entry for entry in entries.values())
    return isinstance(entries, list) and any(isinstance(entry, dict) and "key" in entry for entry in entries)
