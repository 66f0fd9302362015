"""A card's data as a character's fields and lore, and back: what changed since is put into what the card said. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from app.characters.entries import lore_fields, settings_fields, with_lore, written_entries
from app.characters.forms.values import whole_within
from app.characters.reading import CardError, Json, Report
from app.characters.schemas import CharacterCreate, CharacterFields, LoreEntryIn
from app.characters.staging import with_stages
from app.lore.entry import OURS

PLAIN = {
    "name": "name",
    "nickname": "nickname",
    "persona": "description",
    "personality": "personality",
    "scenario": "scenario",
    "greeting": "first_mes",
    "alternate_greetings": "alternate_greetings",
    "mes_example": "mes_example",
    "system_prompt": "system_prompt",
    "post_history_instructions": "post_history_instructions",
    "tags": "tags",
    "creator": "creator",
    "character_version": "character_version",
    "creator_notes": "creator_notes",
}
"""A character's fields, and a card's."""
OWN = ("language", "style", "stages", "bond", "lore_settings", "strategy", "recall_lines")
"""Fields that no card has; they stand in our extension."""
_THIRD = ("nickname",)
_NAME_CHARS = 100


def body_of(data: Json, slug: str, report: Report) -> CharacterCreate:
    """The character of a card's data.

    Raises:
        CardError: a text or a list is longer than a character's may be.
    """
    fields: Json = {ours: data[theirs] for ours, theirs in PLAIN.items() if theirs in data}
    fields["name"] = _short_name(data["name"], report)
    fields["nickname"] = data.get("nickname", "").strip()[:_NAME_CHARS]
    fields["tags"] = list(dict.fromkeys(tag.strip()[:_NAME_CHARS] for tag in data["tags"] if tag.strip()))
    fields["creator_notes"] = data["creator_notes"] or data.get("creator_notes_multilingual", {}).get("en", "")
    fields["depth_prompt"] = _depth_prompt(data["extensions"].get("depth_prompt"))
    fields["language"] = language_of(data)
    book: Json = data.get("character_book", {"entries": []})
    lore = [lore_fields(entry) for entry in book["entries"]]
    fields["lore_settings"] = settings_fields(book)
    # A card may say everything in other fields; a character is somebody all the same.
    fields["persona"] = fields["persona"] if fields["persona"].strip() else fields["name"]
    own = _own(data["extensions"].get(OURS), fields, report)
    try:
        read = CharacterCreate.model_validate({**fields, **own, "slug": slug, "lore": lore})
    except ValidationError as error:
        fault = error.errors()[0]
        names = ".".join(PLAIN.get(str(part), str(part)) for part in fault["loc"])
        raise CardError(f"{names or 'The card'}: {fault['msg'].removeprefix('Value error, ')}.") from None
    body = with_stages(read)
    if body.stages != read.stages:
        report.understood.append(f"stages in character_book: {', '.join(stage.name for stage in body.stages)}")
    return body


def data_of(fields: CharacterFields, lore: Sequence[Json], base: Json) -> Json:
    """A card's data of what a character is now: `base`, with what differs from what was read of it.

    `lore` are the documents of its entries in their order. For a character that never was a card `base` is
    `empty_data(name)`.
    """
    read = body_of(base, "x", Report())
    now, then = fields.model_dump(), read.model_dump(exclude={"slug", "shared", "lore"})
    data: Json = {**base}
    data |= {PLAIN[name]: now[name] for name in PLAIN if now[name] != then[name]}
    extensions: Json = {**base["extensions"]}
    if now["depth_prompt"] != then["depth_prompt"]:
        extensions.pop("depth_prompt", None)
        extensions |= {"depth_prompt": now["depth_prompt"]} if now["depth_prompt"] else {}
    if changed := {name: now[name] for name in OWN if now[name] != then[name]}:
        held = extensions.get(OURS)
        extensions[OURS] = {**(held if isinstance(held, dict) else {}), **changed}
    data["extensions"] = extensions
    known = _lore_of(data)
    written = with_lore(data, lore, known)
    if any(entry["stages"] for entry in (*known, *lore)) and _lore_of(written) != list(lore):
        # Ladders that would be read otherwise now: each entry says its stages itself.
        entries = written_entries(data)
        written = with_lore(data, lore, [LoreEntryIn.model_validate(lore_fields(one)).model_dump() for one in entries])
    return written


def _lore_of(data: Json) -> list[Json]:
    return [entry.model_dump() for entry in body_of(data, "x", Report()).lore]


def empty_data(name: str) -> Json:
    """The data of a card that says nothing but a name."""
    texts = {theirs: "" for ours, theirs in PLAIN.items() if ours not in _THIRD}
    return {**texts, "name": name, "tags": [], "alternate_greetings": [], "extensions": {}}


def language_of(data: Json) -> str:
    """Chinese where there are more Chinese characters than words of Latin letters; our extension may say otherwise."""
    told = data["extensions"].get(OURS)
    if isinstance(told, dict) and told.get("language") in ("zh", "en"):
        return str(told["language"])
    text = "\n".join(
        data[name][:20_000] for name in ("description", "personality", "scenario", "first_mes", "system_prompt")
    )
    return "zh" if len(re.findall(r"[\u4e00-\u9fff]", text)) > len(re.findall(r"[A-Za-z]+", text)) else "en"


def _own(told: Any, fields: Json, report: Report) -> Json:
    """What our extension holds, as far as it is right."""
    if not isinstance(told, dict):
        return {}
    held = {name: told[name] for name in OWN if name in told}
    haruhi = told.get("haruhi")
    if isinstance(haruhi, dict) and isinstance(haruhi.get("lines"), int):
        held.setdefault("recall_lines", max(0, min(50, haruhi["lines"])))
    try:
        CharacterFields.model_validate({"name": "x", "persona": "x", **held})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        report.repair(f"extensions.{OURS} was not ours to read: {where}: {error.errors()[0]['msg']}")
        return {}
    return held


def _depth_prompt(told: Any) -> Json | None:
    if not isinstance(told, dict) or not isinstance(told.get("prompt"), str) or not told["prompt"].strip():
        return None
    role = told.get("role")
    return {
        "prompt": told["prompt"],
        "depth": whole_within(told.get("depth"), 1000, 4),
        "role": role if role in ("system", "user", "assistant") else "system",
    }


def _short_name(name: str, report: Report) -> str:
    name = " ".join(name.split())
    if len(name) > _NAME_CHARS:
        report.repair(f"the name has {len(name):,} characters: {_NAME_CHARS} are shown")
    return name[:_NAME_CHARS].strip()
