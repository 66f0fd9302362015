"""SillyTavern's own JSON of world info: entries and global settings, there and back. Lenient in, complete out.

Fields that mean nothing here are kept in `Entry.extra` and written back as they came.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from app.lore.entry import (
    LOGICS,
    OURS,
    POSITIONS,
    ROLES,
    STRATEGIES,
    TRIGGERS,
    CardField,
    CharacterFilter,
    Entry,
    Settings,
    Strategy,
    uid_rank,
)

MATCHES: dict[str, CardField] = {
    "matchPersonaDescription": "user_persona",
    "matchCharacterDescription": "persona",
    "matchCharacterPersonality": "personality",
    "matchCharacterDepthPrompt": "character_note",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}
T = TypeVar("T")
_MOST = 10**9
_KNOWN = frozenset(
    {
        *("uid", "key", "keysecondary", "comment", "content", "constant", "vectorized", "selective", "selectiveLogic"),
        *("order", "position", "disable", "ignoreBudget", "excludeRecursion", "preventRecursion", "probability"),
        *("delayUntilRecursion", "depth", "outletName", "group", "groupOverride", "groupWeight", "scanDepth"),
        *("caseSensitive", "matchWholeWords", "useGroupScoring", "role", "sticky", "cooldown", "delay", "triggers"),
        *("characterFilter", "priority", *MATCHES),
    }
)


def read_entries(raw: Mapping[str, Any], book: str = "book") -> tuple[Entry, ...]:
    """The entries of a native world-info document, by ascending uid.

    Raises:
        ValueError: `entries` is neither an object nor a list of objects.
    """
    entries = raw.get("entries")
    if isinstance(entries, Mapping):
        named = [(str(uid), one) for uid, one in entries.items()]
    elif isinstance(entries, list):
        named = [(str(place), one) for place, one in enumerate(entries)]
    else:
        raise ValueError("`entries` of a world-info file is an object of entries by uid.")
    if not all(isinstance(one, Mapping) for _, one in named):
        raise ValueError("Every entry of a world-info file is an object.")
    read = [read_entry(one, uid, book) for uid, one in named]
    return tuple(sorted(read, key=lambda entry: uid_rank(entry.uid)))


def read_entry(raw: Mapping[str, Any], uid: str = "0", book: str = "book") -> Entry:
    """One native entry; what is missing or of another type is as SillyTavern would take it."""
    uses = raw.get("useProbability", True)
    return Entry(
        uid=str(raw["uid"]) if raw.get("uid") is not None else uid,
        content=_text(raw.get("content")),
        name=_text(raw.get("comment")),
        keys=_texts(raw.get("key")),
        secondary_keys=_texts(raw.get("keysecondary")),
        logic=_one_of(LOGICS, raw.get("selectiveLogic")),
        selective=bool(raw.get("selective")),
        constant=bool(raw.get("constant")),
        enabled=not raw.get("disable"),
        order=_number(raw.get("order"), 100),
        priority=None if raw.get("priority") is None else _number(raw["priority"], 0),
        position=_one_of(POSITIONS, raw.get("position")),
        depth=_whole(raw.get("depth")),
        role=_one_of(ROLES, raw.get("role")),
        outlet=_text(raw.get("outletName")),
        scan_depth=_whole(raw.get("scanDepth")),
        case_sensitive=_switch(raw.get("caseSensitive")),
        whole_words=_switch(raw.get("matchWholeWords")),
        ignore_budget=bool(raw.get("ignoreBudget")),
        probability=_number(raw.get("probability"), 100) if uses or uses is None else 100,
        group=_text(raw.get("group")),
        group_override=bool(raw.get("groupOverride")),
        group_weight=_number(raw.get("groupWeight"), 100),
        group_scoring=_switch(raw.get("useGroupScoring")),
        exclude_recursion=bool(raw.get("excludeRecursion")),
        prevent_recursion=bool(raw.get("preventRecursion")),
        delay_until_recursion=int(_number(raw.get("delayUntilRecursion"), 0)),
        sticky=_whole(raw.get("sticky")) or 0,
        cooldown=_whole(raw.get("cooldown")) or 0,
        delay=_whole(raw.get("delay")) or 0,
        match=tuple(field for name, field in MATCHES.items() if raw.get(name)),
        triggers=tuple(name for name in _texts(raw.get("triggers")) if name in TRIGGERS),
        vectorized=bool(raw.get("vectorized")),
        only_for=_filter(raw.get("characterFilter")),
        stages=read_stages(raw.get("extensions")),
        book=book,
        digest=_digest(raw),
        extra={key: value for key, value in raw.items() if key not in _KNOWN},
    )


def write_entries(entries: Iterable[Entry]) -> dict[str, Any]:
    """A native world-info document of entries; a uid that is no number is replaced by one that is free."""
    listed = list(entries)
    taken = {entry.uid for entry in listed}
    free = (str(number) for number in range(len(listed) * 2 + 1) if str(number) not in taken)
    numbered = [(entry.uid if uid_rank(entry.uid)[0] is False else next(free), entry) for entry in listed]
    return {"entries": {uid: write_entry(entry, int(uid), place) for place, (uid, entry) in enumerate(numbered)}}


def write_entry(entry: Entry, uid: int, place: int = 0) -> dict[str, Any]:
    """One entry in SillyTavern's fields."""
    only = entry.only_for
    return {
        "addMemo": bool(entry.name),
        "displayIndex": place,
        "useProbability": True,
        **entry.extra,
        **_extensions(entry),
        "uid": uid,
        "key": list(entry.keys),
        "keysecondary": list(entry.secondary_keys),
        "comment": entry.name,
        "content": entry.content,
        "constant": entry.constant,
        "vectorized": entry.vectorized,
        "selective": entry.selective,
        "selectiveLogic": LOGICS.index(entry.logic),
        "order": entry.order,
        **({} if entry.priority is None else {"priority": entry.priority}),
        "position": POSITIONS.index(entry.position),
        "disable": not entry.enabled,
        "ignoreBudget": entry.ignore_budget,
        "excludeRecursion": entry.exclude_recursion,
        "preventRecursion": entry.prevent_recursion,
        "delayUntilRecursion": entry.delay_until_recursion,
        "probability": entry.probability,
        "depth": entry.depth,
        "outletName": entry.outlet,
        "group": entry.group,
        "groupOverride": entry.group_override,
        "groupWeight": entry.group_weight,
        "scanDepth": entry.scan_depth,
        "caseSensitive": entry.case_sensitive,
        "matchWholeWords": entry.whole_words,
        "useGroupScoring": entry.group_scoring,
        "role": ROLES.index(entry.role),
        "sticky": entry.sticky or None,
        "cooldown": entry.cooldown or None,
        "delay": entry.delay or None,
        **{name: field in entry.match for name, field in MATCHES.items()},
        "triggers": list(entry.triggers),
        "characterFilter": {
            "isExclude": bool(only and only.exclude),
            "names": list(only.names) if only else [],
            "tags": list(only.tags) if only else [],
        },
    }


def read_stages(extensions: object) -> tuple[str, ...] | None:
    """The stages that an entry is for, by our part of its extensions; None where that says nothing of them."""
    ours = extensions.get(OURS) if isinstance(extensions, Mapping) else None
    told = ours.get("stages") if isinstance(ours, Mapping) else None
    if not isinstance(told, list):
        return None
    return tuple(name.strip()[:100] for name in told[:20] if isinstance(name, str) and name.strip())


def _extensions(entry: Entry) -> dict[str, Any]:
    """The extensions that an entry came with, and its stages among them; nothing where there are none."""
    held = entry.extra.get("extensions")
    extensions = dict(held) if isinstance(held, Mapping) else {}
    ours = extensions.pop(OURS, None)
    ours = {name: value for name, value in ours.items() if name != "stages"} if isinstance(ours, Mapping) else {}
    if entry.stages is not None:
        ours["stages"] = list(entry.stages)
    extensions |= {OURS: ours} if ours else {}
    return {"extensions": extensions} if extensions else {}


def read_settings(raw: Mapping[str, Any], max_context: float) -> tuple[Settings, bool, Strategy]:
    """Global settings in SillyTavern's names: the settings, whether keys see names, and the order of books."""
    budget = int(_number(raw.get("world_info_budget"), 25) * max_context / 100 + 0.5) or 1
    cap = int(_number(raw.get("world_info_budget_cap"), 0))
    settings = Settings(
        scan_depth=int(_number(raw.get("world_info_depth"), 2)),
        budget=min(budget, cap) if cap > 0 else budget,
        case_sensitive=bool(raw.get("world_info_case_sensitive")),
        whole_words=bool(raw.get("world_info_match_whole_words")),
        recursive=bool(raw.get("world_info_recursive")),
        group_scoring=bool(raw.get("world_info_use_group_scoring")),
        min_activations=int(_number(raw.get("world_info_min_activations"), 0)),
        max_depth=int(_number(raw.get("world_info_min_activations_depth_max"), 0)),
        max_passes=int(_number(raw.get("world_info_max_recursion_steps"), 0)),
    )
    strategy = _one_of(STRATEGIES, raw.get("world_info_character_strategy", 1))
    return settings, bool(raw.get("world_info_include_names", True)), strategy


def _digest(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(raw, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _number(value: object, default: float) -> float:
    """A finite number within bounds; `true` is 1. Whole numbers stay whole."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return default
    if not isinstance(value, int | float) or math.isnan(value):
        return default
    bounded = max(-_MOST, min(_MOST, value))
    return int(bounded) if bounded == int(bounded) else bounded


def _whole(value: object) -> int | None:
    return None if value is None or isinstance(value, bool) else int(_number(value, 0))


def _switch(value: object) -> bool | None:
    return None if value is None else bool(value)


def _one_of(values: tuple[T, ...], number: object) -> T:
    """The value of that number, or the first."""
    place = number if isinstance(number, int) and 0 <= number < len(values) else 0
    return values[int(place)]


def _filter(raw: object) -> CharacterFilter | None:
    if not isinstance(raw, Mapping) or not (raw.get("names") or raw.get("tags")):
        return None
    tags = raw.get("tags")
    named = tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()
    return CharacterFilter(bool(raw.get("isExclude")), _texts(raw.get("names")), named)
