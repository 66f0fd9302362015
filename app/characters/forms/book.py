"""Lorebooks: `character_book` of V2 and V3, `lorebook_v3`, and SillyTavern's own world info.

The mapping between the card's entries and SillyTavern's is that of its world-info.js (1.12.6, later fields by its
documentation).
"""

from __future__ import annotations

import re
from typing import Any

from app.characters.forms.values import flag_of, number_of, object_of, text_of, texts_of
from app.characters.reading import CardError, Json, Report
from app.lore.entry import OURS
from app.lore.native import read_stages

SPEC = "lorebook_v3"
POSITIONS = {0: "before_char", 1: "after_char"}
MOVED = {
    "position": "position",
    "exclude_recursion": "excludeRecursion",
    "prevent_recursion": "preventRecursion",
    "delay_until_recursion": "delayUntilRecursion",
    "display_index": "displayIndex",
    "probability": "probability",
    "useProbability": "useProbability",
    "depth": "depth",
    "selectiveLogic": "selectiveLogic",
    "group": "group",
    "group_override": "groupOverride",
    "group_weight": "groupWeight",
    "scan_depth": "scanDepth",
    "case_sensitive": "caseSensitive",
    "match_whole_words": "matchWholeWords",
    "use_group_scoring": "useGroupScoring",
    "automation_id": "automationId",
    "role": "role",
    "vectorized": "vectorized",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "ignore_budget": "ignoreBudget",
    "outlet_name": "outletName",
    "triggers": "triggers",
    "match_persona_description": "matchPersonaDescription",
    "match_character_description": "matchCharacterDescription",
    "match_character_personality": "matchCharacterPersonality",
    "match_character_depth_prompt": "matchCharacterDepthPrompt",
    "match_scenario": "matchScenario",
    "match_creator_notes": "matchCreatorNotes",
    "character_filter": "characterFilter",
}
"""Extensions of a card's entry, and SillyTavern's own names for them."""
_MOVED_HERE = frozenset({"content", "use_regex"})
_NATIVE = frozenset({"key", "keysecondary", "order", "disable", "uid"})


def is_book(value: Any) -> bool:
    """Whether it is a lorebook without a character."""
    if not isinstance(value, dict):
        return False
    return value.get("spec") == SPEC or ("entries" in value and "data" not in value and "first_mes" not in value)


def read_book(value: Json, report: Report) -> Json:
    """A `character_book` of a file that is a lorebook; raises `CardError` for one that is none."""
    if not is_book(value):
        raise CardError("The file is no lorebook: it has no `entries`.")
    inner = value.get("data") if value.get("spec") == SPEC else value
    if not isinstance(inner, dict):
        raise CardError(f"The {SPEC} file has no data.")
    return normal_book(inner, report)


def normal_book(value: Any, report: Report) -> Json:
    """A book whose entries have what they must, in a list; unknown fields are kept."""
    book = {"entries": value} if isinstance(value, list) else value
    entries = book.get("entries", [])
    if isinstance(entries, dict):
        entries = list(entries.values())
    elif not isinstance(entries, list):
        report.repair("character_book.entries was no list: it was left out")
        entries = []
    if len(kept := [entry for entry in entries if isinstance(entry, dict)]) < len(entries):
        report.repair("an entry of the lorebook that was no object was left out")
    extensions = object_of(book.get("extensions", {}), "character_book.extensions", report)
    return {**book, "extensions": extensions, "entries": [normal_entry(entry, report) for entry in kept]}


def normal_entry(entry: Json, report: Report) -> Json:
    """An entry of a card; one that SillyTavern wrote in its own names is given the card's."""
    if "keys" not in entry and _NATIVE & entry.keys():
        entry = from_native(entry)
    entry = whole_entry(entry)
    name = "an entry's "
    normal: Json = {
        **entry,
        "keys": texts_of(entry.get("keys", []), name + "keys", report, split=","),
        "content": text_of(entry.get("content", ""), name + "content", report),
        "extensions": object_of(entry.get("extensions", {}), name + "extensions", report),
        "enabled": flag_of(entry.get("enabled", True), name + "enabled", report),
        "insertion_order": number_of(entry.get("insertion_order", 100), 100, name + "insertion_order", report),
    }
    if "secondary_keys" in entry:
        normal["secondary_keys"] = texts_of(entry["secondary_keys"], name + "secondary_keys", report, split=",")
    for flag in ("constant", "selective", "use_regex"):
        if entry.get(flag) is not None:
            normal[flag] = flag_of(entry[flag], name + flag, report)
    for text in ("name", "comment"):
        if entry.get(text) is not None:
            normal[text] = text_of(entry[text], name + text, report)
    return normal


def plain_entry(entry: Json) -> Json:
    """An entry as V2 may have it: decorators and `use_regex`, which V3 adds, are put into our extension."""
    rest = re.sub(r"\A(?:[ \t]*@@[^\n]*(?:\n|\Z))+", "", entry["content"])
    kept: Json = {"content": entry["content"]} if rest != entry["content"] else {}
    if "use_regex" in entry:
        kept["use_regex"] = entry["use_regex"]
    if not kept:
        return entry
    plain = {name: value for name, value in entry.items() if name != "use_regex"}
    ours = entry["extensions"].get(OURS)
    kept = {**(ours if isinstance(ours, dict) else {}), **kept}
    return {**plain, "content": rest, "extensions": {**entry["extensions"], OURS: kept}}


def whole_entry(entry: Json) -> Json:
    """The entry that `plain_entry` was made of, unless its content has been changed since."""
    extensions = entry.get("extensions")
    ours = extensions.get(OURS) if isinstance(extensions, dict) else None
    if not isinstance(ours, dict) or not isinstance(extensions, dict) or not ours.keys() <= {*_MOVED_HERE, "stages"}:
        return entry
    kept = {name: value for name, value in ours.items() if name in _MOVED_HERE}
    rest = {name: value for name, value in extensions.items() if name != OURS}
    rest |= {OURS: {"stages": ours["stages"]}} if "stages" in ours else {}
    whole = {**entry, **kept, "extensions": rest}
    content = whole["content"]
    unchanged = isinstance(content, str) and plain_entry({**whole, "content": content})["content"] == entry["content"]
    return whole if unchanged else entry


def from_native(entry: Json) -> Json:
    """A card's entry of SillyTavern's own."""
    extensions = {**entry["extensions"]} if isinstance(entry.get("extensions"), dict) else {}
    extensions |= {ours: entry[theirs] for ours, theirs in MOVED.items() if theirs in entry}
    moved = {*MOVED.values(), *_NATIVE, "extensions", "content", "comment", "constant", "selective"}
    rest = {name: value for name, value in entry.items() if name not in moved}
    return {
        **rest,
        "id": entry.get("uid"),
        "keys": entry.get("key", []),
        "secondary_keys": entry.get("keysecondary", []),
        "comment": entry.get("comment", ""),
        "content": entry.get("content", ""),
        "constant": entry.get("constant", False),
        "selective": entry.get("selective", True),
        "insertion_order": entry.get("order", 100),
        "enabled": not entry.get("disable", False),
        "position": POSITIONS.get(entry["position"], "before_char") if _whole(entry.get("position")) else "before_char",
        "extensions": extensions,
    }


def to_native(entry: Json, number: int) -> Json:
    """SillyTavern's own entry of a card's, `number` in its book."""
    extensions = entry.get("extensions", {})
    position = 1 if entry.get("position") == "after_char" else 0
    native: Json = {
        "uid": entry["id"] if _whole(entry.get("id")) else number,
        "key": entry.get("keys", []),
        "keysecondary": entry.get("secondary_keys") or [],
        "comment": entry.get("comment") or entry.get("name") or "",
        "content": entry.get("content", ""),
        "constant": bool(entry.get("constant")),
        "selective": bool(entry.get("selective")),
        "order": entry.get("insertion_order", 100),
        "disable": not entry.get("enabled", True),
        "position": position,
        "addMemo": bool(entry.get("comment")),
        "displayIndex": number,
        "caseSensitive": entry.get("case_sensitive"),
    }
    native |= {theirs: extensions[ours] for ours, theirs in MOVED.items() if extensions.get(ours) is not None}
    if (stages := read_stages(extensions)) is not None:
        native["extensions"] = {OURS: {"stages": list(stages)}}
    return native


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
