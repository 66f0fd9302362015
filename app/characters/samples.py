"""The two sample characters that every new server begins with."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from sqlalchemy import select

from app.auth import LOCAL_OWNER, Caller
from app.characters import store
from app.characters.schemas import CharacterCreate
from app.db import Database
from app.lines.parse import Dialogue
from app.lines.store import add
from app.tables import SHARED, Character
from retrieval.units import Turn


def read_samples() -> list[dict[str, Any]]:
    """The samples as they are written, `lines` included."""
    folder = files("app.characters") / "samples"
    written = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return [json.loads(file.read_text(encoding="utf-8")) for file in written]


async def add_samples(db: Database) -> list[str]:
    """Add the samples that this database has never had; one that was deleted stays away. Returns their slugs."""
    operator = Caller(LOCAL_OWNER, admin=True)
    added = []
    for sample in read_samples():
        lines = sample.pop("lines")
        async with db.write() as session:
            had = select(Character.id).where(Character.owner == SHARED, Character.slug == sample["slug"])
            if await session.scalar(had) is not None:
                continue
            body = CharacterCreate.model_validate(sample | {"shared": True})
            character = await store.create(session, operator, body)
            dialogues = [
                Dialogue(tuple(Turn(speaker, text) for speaker, text in line["dialogue"]), line["emotion"])
                for line in lines
            ]
            await add(session, character, dialogues, body.name, "sample")
            added.append(body.slug)
    return added
