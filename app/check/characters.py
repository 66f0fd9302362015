"""Slugs and revisions of characters, and what makes a group one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from sqlalchemy import Text as Characters
from sqlalchemy import cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.characters.store import live_slug
from app.check.documents import fields_of
from app.check.run import AnyRow, Check
from app.groups.order import Order
from app.groups.store import GROUP
from app.tables import Character, CharacterRevision, Group


def characters() -> Iterator[Check]:
    """The rules of a character's row."""
    columns = (Character.owner, Character.slug, Character.live_slug, Character.deleted_at)
    yield Check(
        "characters under a wrong name",
        select(Character.id.label("key"), *columns),
        Character.id,
        _wrong_name,
        _mend_name,
    )
    groups = select(Character.id.label("key"), Group.turn_order).outerjoin(Group, Group.id == Character.id)
    yield Check(
        "groups without an order",
        groups.where(Character.kind == GROUP),
        Character.id,
        lambda row: "" if row.turn_order in get_args(Order) else f"its order is {row.turn_order!r}",
        _mend_group,
    )
    mine = CharacterRevision.character_id == Character.id
    newest = select(func.max(CharacterRevision.revision)).where(mine).scalar_subquery()
    count = select(func.count()).select_from(CharacterRevision).where(mine).scalar_subquery()
    kept = select(cast(CharacterRevision.document, Characters))
    kept_now = kept.where(mine, CharacterRevision.revision == Character.revision).scalar_subquery()
    yield Check(
        "characters with a broken history",
        select(
            Character.id.label("key"),
            Character.revision,
            cast(Character.document, Characters).label("text"),
            newest.label("newest"),
            count.label("count"),
            kept_now.label("kept"),
        ),
        Character.id,
        _broken_history,
        _mend_history,
    )


def _wrong_name(row: AnyRow) -> str:
    right = None if row.deleted_at else live_slug(row.owner, row.slug)
    return "" if row.live_slug == right else f"live_slug is {row.live_slug!r}, not {right!r}"


async def _mend_name(db: AsyncSession, row: AnyRow) -> None:
    """Fails, and is told, where another character has the name: somebody must give one of the two another slug."""
    right = None if row.deleted_at else live_slug(row.owner, row.slug)
    await db.execute(update(Character).where(Character.id == row.key).values(live_slug=right))


async def _mend_group(db: AsyncSession, row: AnyRow) -> None:
    """It has the order that groups begin with."""
    await db.merge(Group(id=row.key, turn_order="natural"))


def _broken_history(row: AnyRow) -> str:
    if row.newest is None or row.newest < row.revision or row.kept is None:
        return f"revision {row.revision} is not kept"
    if row.newest > row.revision:
        return f"revision {row.newest} is kept already, the character is at {row.revision}"
    if fields_of(row.text) is not None and json.loads(row.text) != _read(row.kept):
        return f"revision {row.revision} is kept otherwise than the character is"
    # A gap in the middle can't be filled: nobody knows what the character was then.
    return ""


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


async def _mend_history(db: AsyncSession, row: AnyRow) -> None:
    """What the character is becomes the newest revision."""
    character = await db.get_one(Character, row.key)
    number = character.revision if row.kept is None and (row.newest or 0) < row.revision else (row.newest or 0) + 1
    character.revision = number
    db.add(CharacterRevision(character_id=row.key, revision=number, document=character.document))
    await db.flush()
