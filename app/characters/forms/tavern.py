"""Character Card V1, V2 and V3: the fields as the specifications have them, everything else as it came.

V1: github.com/malfoyslastname/character-card-spec-v2, spec_v1.md; V2: spec_v2.md there; V3: github.com/kwaroran/
character-card-spec-v3, SPEC_V3.md.
"""

from __future__ import annotations

from typing import Any

from app.characters.forms.book import is_book, normal_book, plain_entry
from app.characters.forms.values import moment_of, object_of, text_of, texts_of
from app.characters.reading import CardError, Json, Report
from app.lore.entry import OURS

FIRST = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
"""What V1 has."""
TEXTS = (
    *FIRST,
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "creator",
    "character_version",
)
LISTS = ("tags", "alternate_greetings")
THIRD_LISTS = ("group_only_greetings", "source")
THIRD = ("nickname", "creator_notes_multilingual", "assets", "creation_date", "modification_date", *THIRD_LISTS)
"""What V3 adds."""
V2, V3 = "chara_card_v2", "chara_card_v3"
_TAVERN = {"creatorcomment": "creator_notes", "tags": "tags"}
"""Top-level fields that SillyTavern and TavernAI add to V1."""


def is_tavern(value: Json) -> bool:
    """Whether it looks like a card of V1 to V3; a lorebook has a name and a description, too."""
    if is_book(value):
        return False
    spec = str(value.get("spec", ""))
    inner = value.get("data")
    if isinstance(inner, dict) and (spec.startswith("chara_card") or "name" in inner or "first_mes" in inner):
        return True
    known = [name for name in FIRST[1:] if name in value]
    return spec.startswith("chara_card") or ("name" in value and bool(known)) or len(known) > 2


def read_tavern(value: Json, report: Report) -> tuple[str, Json, Json]:
    """The version (`V1`, `V2`, `V3`), the data with every field it must have, and what stands outside of the data."""
    version = _version(value, report)
    inner = value.get("data")
    if isinstance(inner, dict):
        data = {**inner}
        outer = {name: kept for name, kept in value.items() if name not in ("spec", "spec_version", "data", *FIRST)}
        for name in (*FIRST, *_TAVERN):
            target = _TAVERN.get(name, name)
            if target not in data and name in value:
                data[target] = value[name]
                report.repair(f"{target} stood beside the data, not in it")
    else:
        if version != "V1":
            report.repair(f"a card of {version} had its fields beside the data, not in it")
        data, outer = _flat(value, version)
    if isinstance(moved := _extensions(data).get(OURS), dict) and isinstance(third := moved.get("v3"), dict):
        data |= third
        data["extensions"] = _without(data["extensions"], "v3")
        version = "V3" if version == "V2" else version
    return version, normal_data(data, report), outer


def normal_data(data: Json, report: Report) -> Json:
    """The data of V2, with the fields of V3 that are there, in the types that both have; unknown fields as they are."""
    normal: Json = {}
    for name in TEXTS:
        normal[name] = text_of(data.get(name, ""), name, report)
    for name in LISTS:
        normal[name] = texts_of(data.get(name, []), name, report, split="," if name == "tags" else "")
    normal["extensions"] = object_of(data.get("extensions", {}), "extensions", report)
    _add_third(normal, data, report)
    if "character_book" in data:
        book = data["character_book"]
        if isinstance(book, (dict, list)):
            normal["character_book"] = normal_book(book, report)
        else:
            report.repair("character_book was no lorebook: it was left out")
    known = {*normal, *THIRD, "character_book"}
    normal |= {name: value for name, value in data.items() if name not in known}
    if not any(normal[name] for name in ("name", *FIRST[1:], "system_prompt")):
        raise CardError("The card is empty: it has no name, description, personality, scenario or first message.")
    return normal


def to_second(data: Json) -> Json:
    """The data as V2: what V3 adds is put into our extension, from where `read_tavern` takes it again."""
    second = {name: value for name, value in data.items() if name not in THIRD}
    if third := {name: data[name] for name in THIRD if name in data}:
        ours = object_of(_extensions(data).get(OURS, {}), OURS, Report())
        rest = {name: value for name, value in _extensions(data).items() if name != OURS}
        second["extensions"] = {**rest, OURS: {**ours, "v3": third}}
    if book := data.get("character_book"):
        second["character_book"] = {**book, "entries": [plain_entry(entry) for entry in book["entries"]]}
    return second


def _add_third(normal: Json, data: Json, report: Report) -> None:
    for name in THIRD_LISTS:
        if name in data:
            normal[name] = texts_of(data[name], name, report)
    if data.get("nickname") is not None:
        normal["nickname"] = text_of(data["nickname"], "nickname", report)
    if "creator_notes_multilingual" in data:
        notes = object_of(data["creator_notes_multilingual"], "creator_notes_multilingual", report)
        normal["creator_notes_multilingual"] = {
            name: text_of(text, f"creator_notes_multilingual.{name}", report) for name, text in notes.items()
        }
    if "assets" in data:
        normal["assets"] = _assets(data["assets"], report)
    for name in ("creation_date", "modification_date"):
        if data.get(name) is not None:
            normal[name] = moment_of(data[name], name, report)


def _assets(value: Any, report: Report) -> list[Json]:
    if not isinstance(value, list):
        report.repair("assets was no list: it was left out")
        return []
    assets = []
    for asset in value:
        if not isinstance(asset, dict) or not isinstance(asset.get("uri"), str):
            report.repair("an asset without a uri was left out")
            continue
        texts = {name: text_of(asset.get(name, ""), f"asset {name}", report) for name in ("type", "name", "ext")}
        assets.append({**asset, **texts})
    return assets


def _flat(value: Json, version: str) -> tuple[Json, Json]:
    """Data and rest of a card whose fields stand at its top, as V1 has it."""
    names = (*FIRST, *TEXTS, *LISTS, *THIRD, "extensions", "character_book")
    data = {name: value[name] for name in names if name in value}
    for name, target in _TAVERN.items():
        if name in value:
            data.setdefault(target, value[name])
    outer = {
        name: kept
        for name, kept in value.items()
        if name not in (*data, "spec", "spec_version", "creatorcomment", "data")
    }
    if version == "V1":
        extensions = {**_extensions(data)}
        for name in ("talkativeness", "fav"):
            if name in outer:
                extensions.setdefault(name, outer.pop(name))
        data["extensions"] = extensions
    return data, outer


def _version(value: Json, report: Report) -> str:
    spec, told = value.get("spec"), value.get("spec_version")
    if spec is None and not isinstance(value.get("data"), dict):
        return "V1"
    if spec not in (V2, V3):
        report.repair(f"spec was {str(spec)[:40]!r}")
    version = "V3" if spec == V3 or str(told).startswith("3") else "V2"
    try:
        number = float(told) if isinstance(told, (str, int, float)) else 0.0
    except ValueError:
        number = 0.0
    if number != float(version[1]):
        newer = ", newer than what is known" if number > 3 else ""
        report.repair(f"spec_version was {str(told)[:40]!r}{newer}")
    return version


def _extensions(data: Json) -> Json:
    found = data.get("extensions")
    return found if isinstance(found, dict) else {}


def _without(extensions: Json, name: str) -> Json:
    """Extensions whose own part has no `name`; the part goes when nothing else is in it."""
    ours = {key: value for key, value in extensions[OURS].items() if key != name}
    rest = {key: value for key, value in extensions.items() if key != OURS}
    return {**rest, OURS: ours} if ours else rest
