"""Rows that point at rows which are gone.

Databases see to it themselves while foreign keys are on; a hand with the `sqlite3` shell, where they are off, does not.
What hangs on something that is gone is never deleted: what it hung on is made again under the same id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ForeignKey, Table, cast, exists, func, select, update
from sqlalchemy import Text as Characters
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import LOCAL_OWNER
from app.characters.store import CHARACTER
from app.check.documents import fields_of
from app.check.run import AnyRow, Check
from app.groups.store import GROUP, PREFIX
from app.tables import Base, Character, CharacterRevision, Group, Memory, Message, Session, Trace, now

RECOVERED = "recovered"
"""The title of a conversation that was made again, and the slug and the name of such a character."""


def references() -> Iterator[Check]:
    """A check for each foreign key. Its rows are the ids that are pointed at and missing."""
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            yield _reference(table, key)


def _reference(table: Table, key: ForeignKey) -> Check:
    column = key.parent
    parent = key.column.table.alias("parent")
    target = parent.c[key.column.name]
    query = select(column.label("key"), func.count().label("rows"))
    missing = query.where(column.is_not(None), ~exists().where(target == column)).group_by(column)
    what = key.column.table.name

    async def mend(db: AsyncSession, row: AnyRow) -> None:
        await _mend(db, table, column, what, row.key)

    return Check(
        f"{table.name} without their {what}" if column.name != "parent_id" else "messages without their parent",
        missing,
        column,
        lambda row: f"{row.rows} {table.name} have {column.name} {row.key!r}, which is missing",
        mend,
    )


async def _mend(db: AsyncSession, table: Table, column: Column[Any], parent: str, missing: Any) -> None:
    """A link that may be empty is emptied; else what is missing is made again under its id."""
    if column.nullable:
        await db.execute(update(table).where(column == missing).values({column: None}))
    elif parent == Session.__tablename__:
        db.add(await _session(db, missing))
    elif parent == Character.__tablename__:
        await _make_character(db, missing)
    elif parent == Group.__tablename__:
        if await db.get(Character, missing) is None:
            await _make_character(db, missing, GROUP)
        db.add(Group(id=missing))


async def _session(db: AsyncSession, session_id: str) -> Session:
    """A conversation for messages that have lost theirs; whose it was is told by a memory or a trace of it."""
    memory = (
        await db.execute(
            select(Memory.owner, Memory.user, Memory.character_id)
            .outerjoin(Message, Message.id == Memory.message_id)
            .where((Memory.session_id == session_id) | (Message.session_id == session_id))
            .limit(1)
        )
    ).first()
    owner, user, character_id = memory or await _told_by_trace(db, session_id)
    leaf = await db.scalar(
        select(Message.id)
        .where(Message.session_id == session_id, Message.deleted_at.is_(None))
        .order_by(Message.depth.desc(), Message.created_at.desc())
        .limit(1)
    )
    if await db.get(Character, character_id) is None:
        await _make_character(db, character_id)
    scope = {"owner": owner, "user": user, "character_id": character_id}
    return Session(id=session_id, title=RECOVERED, leaf_id=leaf, deleted_at=None if leaf else now(), **scope)


async def _told_by_trace(db: AsyncSession, session_id: str) -> tuple[str, str, str]:
    trace = await db.scalar(select(Trace).where(Trace.session_id == session_id).limit(1))
    if trace is None:
        return LOCAL_OWNER, "", RECOVERED
    slug = trace.document.get("character", {}).get("slug", "")
    query = select(Character.id).where(Character.slug == slug, Character.owner.in_([trace.owner, "*"]))
    found = await db.scalar(query.order_by(Character.deleted_at.is_not(None), Character.owner == "*").limit(1))
    return trace.owner, trace.document.get("user", ""), found or RECOVERED


async def _make_character(db: AsyncSession, character_id: str, kind: str = CHARACTER) -> None:
    """A character or a group, hidden, from the newest revision that is left of it."""
    kind = kind if await db.get(Group, character_id) is None else GROUP
    newest = (
        await db.execute(
            select(CharacterRevision.revision, cast(CharacterRevision.document, Characters).label("document"))
            .where(CharacterRevision.character_id == character_id)
            .order_by(CharacterRevision.revision.desc())
            .limit(1)
        )
    ).first()
    fields = fields_of(newest.document) if newest else None
    document = fields.model_dump() if fields else {"name": RECOVERED, "persona": RECOVERED}
    owner = await db.scalar(select(Session.owner).where(Session.character_id == character_id).limit(1))
    owner = owner or await db.scalar(select(Memory.owner).where(Memory.character_id == character_id).limit(1))
    db.add(
        Character(
            id=character_id,
            owner=owner or LOCAL_OWNER,
            slug=f"{PREFIX if kind == GROUP else ''}{RECOVERED}-{character_id[:12]}",
            kind=kind,
            revision=newest.revision if newest else 1,
            document=document,
            deleted_at=now(),
        )
    )
    await db.flush()
    if newest is None:
        db.add(CharacterRevision(character_id=character_id, revision=1, document=document))
        await db.flush()
