"""`moodline data import` and `export`: other programs' data sets in, and out again."""

from __future__ import annotations

import json
from pathlib import Path

from app.cli.console import out
from app.data.files import save, save_rows, told, vacant, written
from app.data.persona import persona_of
from models.data.alpaca import As
from models.data.dataset_info import entry
from models.data.foreign import Format, Target, detect, read_foreign, rows_of, write_rows
from models.example import read_examples


def bring(file: Path, target: Path, form: Format | None, dataset: str, role: str, persona: str, force: bool) -> None:
    """Write a foreign file's rows as examples."""
    vacant(target, force)
    with told():
        found = form or detect(file)
        known = persona_of(persona, role)
        count = save(read_foreign(file, found, dataset=dataset, character=role, persona=known), target)
    written(target, count, f"read as {found}" + ("" if form else " (detected)"))


def send(file: Path, target: Path, form: Target, rows: As | None, force: bool) -> None:
    """Write examples as a foreign file, and tell LLaMA-Factory's entry for it."""
    vacant(target, force)
    with told():
        chosen = rows or rows_of(read_examples(file))
        count = save_rows(write_rows(read_examples(file), form, chosen), target)
    written(target, count, f"{form}, {chosen}")
    if form != "openai":
        out.print("For LLaMA-Factory's dataset_info.json:")
        print(json.dumps({target.stem: entry(target, form, chosen)}, ensure_ascii=False))
