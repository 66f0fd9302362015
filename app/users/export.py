"""All that is kept of one user, as lines of JSON.

Every line has a `kind`: `export`, then `character` for each that the user has talked with, `persona`, `bond`,
`bond_event`, `memory`, each `session` followed by its `message`s and `trace`s, `turn`, each `lorebook` for the user
alone with its `lorebook_entry`s, and `end` with the counts, so that a file that was cut off can be told from a whole
one. Vectors and hashed words are left out: they are made of the texts.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db import Database
from app.tables import (
    Bond,
    BondEvent,
    Character,
    Floats,
    Lorebook,
    LorebookEntry,
    Memory,
    Message,
    Persona,
    Session,
    Trace,
    TurnRecord,
    now,
)
from app.version import VERSION
from retrieval.emotion import EMOTIONS

PAGE = 200
MADE_OF_TEXTS = {"vector", "context", "terms", "encoder", "tagger"}

Line = dict[str, Any]
Keys = Sequence[InstrumentedAttribute[Any]]


async def export(db: Database, owner: str, user: str) -> AsyncIterator[bytes]:
    """The lines. Read page by page, so that a slow reader holds no connection; what changes meanwhile may be in it."""
    counts: Counter[str] = Counter()
    async for line in _lines(db, owner, user):
        counts[line["kind"]] += 1
        yield _written(line)
    yield _written({"kind": "end", "counts": dict(counts)})


async def _lines(db: Database, owner: str, user: str) -> AsyncIterator[Line]:
    yield {"kind": "export", "user": user, "created_at": now(), "made_by": VERSION}
    names = await _characters(db, owner, user)
    for character_id, slug in names.items():
        yield {"kind": "character", "id": character_id, "slug": slug}
    for kind, table in (("persona", Persona), ("bond", Bond), ("bond_event", BondEvent), ("memory", Memory)):
        async for line in _rows(db, kind, table, [table.owner == owner, table.user == user], [table.id]):
            yield line | {"character": names.get(line["character_id"])}
    async for session in _rows(db, "session", Session, [Session.owner == owner, Session.user == user], [Session.id]):
        yield session | {"character": names.get(session["character_id"])}
        mine = [Message.session_id == session["id"]]
        async for line in _rows(db, "message", Message, mine, [Message.depth, Message.id]):
            yield line
        async for line in _rows(db, "trace", Trace, [Trace.session_id == session["id"]], [Trace.id]):
            yield line
    mine = [TurnRecord.owner == owner, TurnRecord.user == user]
    async for line in _rows(db, "turn", TurnRecord, mine, [TurnRecord.id]):
        yield line
    mine = [Lorebook.owner == owner, Lorebook.user == user]
    async for book in _rows(db, "lorebook", Lorebook, mine, [Lorebook.id]):
        yield book
        mine = [LorebookEntry.lorebook_id == book["id"]]
        async for line in _rows(db, "lorebook_entry", LorebookEntry, mine, [LorebookEntry.id]):
            yield line


async def _characters(db: Database, owner: str, user: str) -> dict[str, str]:
    """Slugs by id of the characters that the user has talked with."""
    met = [
        select(table.character_id).where(table.owner == owner, table.user == user) for table in (Bond, Memory, Session)
    ]
    query = select(Character.id, Character.slug).where(or_(*(Character.id.in_(ids) for ids in met)))
    async with db.read() as session:
        return {row.id: row.slug for row in await session.execute(query.order_by(Character.slug, Character.id))}


async def _rows(
    db: Database, kind: str, table: Any, mine: Sequence[ColumnElement[bool]], keys: Keys
) -> AsyncIterator[Line]:
    columns = [column for column in table.__table__.columns if column.name not in MADE_OF_TEXTS]
    query: Select[*tuple[Any, ...]] = select(*columns).where(*mine).order_by(*keys).limit(PAGE)
    after: Mapping[str, Any] | None = None
    while True:
        page = query if after is None else query.where(_behind(keys, after))
        async with db.read() as session:
            rows = (await session.execute(page)).mappings().all()
        for row in rows:
            yield {"kind": kind, **row}
        if len(rows) < PAGE:
            return
        after = rows[-1]  # type: ignore[assignment]


def _behind(keys: Keys, after: Mapping[str, Any]) -> ColumnElement[bool]:
    """Rows after the last of a page, in the order of one key or of two."""
    first, last = keys[0], keys[-1]
    if first is last:
        return and_(first > after[first.key])
    return or_(first > after[first.key], and_(first == after[first.key], last > after[last.key]))


def _written(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False, default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return _named(value)
    return base64.b64encode(value).decode()


def _named(emotion: Floats) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(EMOTIONS, emotion, strict=False)}
