"""Recorded runs of SillyTavern, and how ours are compared with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from app.characters.macros import fill_names
from app.lore.quirks import SILLYTAVERN, Quirk
from app.lore.replay import Script, replay

VECTORS = (
    Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "lore"
    / "vectors_a.json"
)
TEXTS = ("worldInfoBefore", "worldInfoAfter", "EMEntries", "ANTop", "ANBottom", "AN", "WIDepthEntries")
WHOLE = ("activated", *TEXTS, "budget", "tokens_used", "overflow", "timed", "draws", "trace")


def read_vectors() -> list[dict[str, Any]]:
    """All runs."""
    vectors: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    return vectors


def results(vector: dict[str, Any], quirks: frozenset[Quirk] = SILLYTAVERN) -> list[dict[str, Any]]:
    """Our results of a run."""
    note = vector["author_note"]
    return replay(
        Script(
            settings=vector["settings"],
            books=vector.get("books") or [vector["book"]],
            messages=vector["messages"],
            calls=vector["calls"],
            names=lambda text: fill_names(text, vector["char"], vector["user"]),
            max_context=vector["max_context"],
            card=vector.get("char_file", vector["char"]),
            tags=vector.get("char_tags", ()),
            note=note["value"],
            note_scan=note["scan"],
            note_due=note["insert"],
            injections=vector.get("injections", ()),
            external=[str(uid) for uid in vector.get("external", ())],
            dry_run=vector.get("dry_run", ()),
            edits=vector.get("edits", ()),
            draws=[[draw["value"] for draw in call.get("draws", ())] for call in vector["expected"]],
            quirks=quirks,
        )
    )


def parted(vector: dict[str, Any], quirks: frozenset[Quirk], fields: tuple[str, ...] = WHOLE) -> list[str]:
    """The fields in which ours differs, `call: field`."""
    return parted_from(vector, results(vector, quirks), fields)


def parted_from(vector: dict[str, Any], ours: list[dict[str, Any]], fields: tuple[str, ...]) -> list[str]:
    """The fields in which these results differ, `call: field`."""
    different = []
    for number, (got, expected) in enumerate(zip(ours, vector["expected"], strict=True)):
        for field in fields:
            value = _without_digests(got[field]) if field == "timed" else got[field]
            if field in expected and value != expected[field]:
                different.append(f"{number}: {field}")
    return different


def _without_digests(timed: dict[str, Any]) -> dict[str, Any]:
    return {
        effect: {name: {k: v for k, v in timer.items() if k != "digest"} for name, timer in records.items()}
        for effect, records in timed.items()
    }
