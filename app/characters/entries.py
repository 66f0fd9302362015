"""Entries of a card's lorebook as the documents of world info, and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from app.characters.forms.book import MOVED, to_native
from app.characters.forms.values import whole_within
from app.characters.reading import Json
from app.characters.schemas import LoreEntryIn, LoreSettings
from app.lore.document import document_of, entry_of, fitting
from app.lore.entry import OURS
from app.lore.native import read_entry, read_stages, write_entry

_SAID = ("name", "keys", "secondary_keys", "content")
"""Fields that are never given up: one that is too long is refused by name."""
_BESIDE = {
    "key": "keys",
    "keysecondary": "secondary_keys",
    "content": "content",
    "constant": "constant",
    "selective": "selective",
    "order": "insertion_order",
    "priority": "priority",
}
"""SillyTavern's names for what stands in a card's entry itself, not in its extensions."""
_NEW: Json = {"keys": [], "content": "", "extensions": {}, "enabled": True, "insertion_order": 100}


def lore_fields(entry: Json) -> Json:
    """A card's entry as the document that is stored; what is only the card's stays with the card."""
    native = to_native(entry, 0)
    if entry.get("use_regex") is True:
        native |= {"key": [_as_regex(key) for key in entry["keys"]], "keysecondary": []}
    if isinstance(priority := entry.get("priority"), (int, float)):
        native["priority"] = priority
    read = read_entry(native)
    document = fitting(document_of(read)) | {"name": read.name[:200], "extra": {}}
    try:
        return LoreEntryIn.model_validate(document).model_dump()
    except ValidationError as error:
        # What no engine could make sense of is as if it were not there.
        wrong = {str(fault["loc"][0]) for fault in error.errors()} - set(_SAID)
        return {name: value for name, value in document.items() if name not in wrong}


def settings_fields(book: Json) -> Json:
    """How a card's lorebook is read, as fields of `LoreSettings`."""
    depth = whole_within(book.get("scan_depth"), 1000, LoreSettings().scan_depth)
    return {"scan_depth": depth, "recursive": book.get("recursive_scanning") is True}


def written_entries(data: Json) -> list[Json]:
    """The entries of a card's lorebook as the card has them."""
    entries: list[Json] = (data.get("character_book") or {"entries": []})["entries"]
    return entries


def with_lore(data: Json, lore: Sequence[Json], known: Sequence[Json]) -> Json:
    """`data` whose book has the entries `lore`: the card's own where they read the same, else changed or new ones.

    `known` is what is read of the card's entries.
    """
    if list(known) == list(lore):
        return data
    book: Json = data.get("character_book") or {"extensions": {}, "entries": []}
    left = list(zip(written_entries(data), known, strict=True))
    found = [_take(left, document, tuple(document)) for document in lore]
    entries: list[Json] = []
    for document, same in zip(lore, found, strict=True):
        if same is not None:
            entries.append(same[0])
            continue
        alike = _take(left, document, ("content",)) or _take(left, document, ("name", "keys"))
        entries.append(_changed(*(alike or (_NEW, lore_fields(_NEW))), document))
    return {**data, "character_book": {**book, "entries": entries}}


def _take(left: list[tuple[Json, Json]], document: Json, names: Sequence[str]) -> tuple[Json, Json] | None:
    """The first entry of the card that agrees in `names` and what it was read as, no longer to be had by another."""
    for number, (_entry, read) in enumerate(left):
        if all(read[name] == document.get(name) for name in names):
            return left.pop(number)
    return None


def _changed(entry: Json, read: Json, document: Json) -> Json:
    """A card's entry, `read` before, that reads as `document`: what differs is put in, in the card's names."""
    then = write_entry(entry_of("0", read), 0)
    now = write_entry(entry_of("0", document), 0)
    changes: Json = {name: now.get(name) for name in {**then, **now} if then.get(name) != now.get(name)}
    extensions = {**entry["extensions"], **{ours: changes[name] for ours, name in MOVED.items() if name in changes}}
    if "extensions" in changes:
        extensions = _with_stages(extensions, changes["extensions"])
    changed = {**entry, "extensions": extensions}
    changed |= {theirs: changes[name] for name, theirs in _BESIDE.items() if name in changes}
    if "key" in changes or "keysecondary" in changes:
        changed.pop("use_regex", None)
    if "comment" in changes:
        changed |= {"name": changes["comment"], "comment": changes["comment"]}
    if "disable" in changes:
        changed["enabled"] = not changes["disable"]
    if "caseSensitive" in changes:
        changed["case_sensitive"] = changes["caseSensitive"]
    if "position" in changes:
        changed["position"] = "after_char" if changes["position"] == 1 else "before_char"
    return changed


def _with_stages(extensions: Json, told: Json | None) -> Json:
    """A card's extensions of an entry whose stages are those of `told`, SillyTavern's of it, or none are said."""
    ours = extensions.get(OURS)
    kept = {name: value for name, value in ours.items() if name != "stages"} if isinstance(ours, dict) else {}
    if (stages := read_stages(told)) is not None:
        kept["stages"] = list(stages)
    rest = {name: value for name, value in extensions.items() if name != OURS}
    return {**rest, OURS: kept} if kept else rest


def _as_regex(key: str) -> str:
    """V3 spells a regular expression bare or as `/pattern/flags`; keys here are the latter."""
    if key.startswith("/") and key.rfind("/") > 0:
        return key
    return "/" + key.replace("/", "\\/") + "/"
