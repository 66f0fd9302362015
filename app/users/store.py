"""Who there is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from app.characters.store import CHARACTER
from app.errors import NotFound
from app.tables import Bond, Character, Lorebook, Memory, Message, Persona, Session, TurnRecord
from app.users.schemas import UserOut

OWNED = (Session, Memory, Bond, Persona, TurnRecord, Lorebook)
"""Tables that name a user."""


async def list_users(db: AsyncSession, owner: str, *, limit: int, after: str | None = None) -> list[UserOut]:
    """An owner's users in the order of their names."""
    named = (select(table.user).where(table.owner == owner, table.user.is_not(None)) for table in OWNED)
    names = union(*named).subquery()
    query = select(names.c.user).order_by(names.c.user).limit(limit)
    if after is not None:
        query = query.where(names.c.user > after)
    return [await _describe(db, owner, user) for user in await db.scalars(query)]


async def find_user(db: AsyncSession, owner: str, user: str) -> None:
    """Raise `NotFound` unless anything of this user is kept."""
    for table in OWNED:
        if await db.scalar(select(table.id).where(*_mine(table, owner, user)).limit(1)) is not None:
            return
    raise NotFound(f"You have no user {user!r}. GET /api/users lists yours.", code="user_not_found")


def _mine(table: Any, owner: str, user: str) -> tuple[ColumnElement[bool], ...]:
    return table.owner == owner, table.user == user


async def _describe(db: AsyncSession, owner: str, user: str) -> UserOut:
    async def count(table: Any) -> int:
        return await db.scalar(select(func.count()).select_from(table).where(*_mine(table, owner, user))) or 0

    # A group has a bond's row, too, by which its talks are locked.
    met = select(func.count()).select_from(Bond).join(Character, Character.id == Bond.character_id)
    met = met.where(Character.kind == CHARACTER)
    messages = select(func.count()).select_from(Message).join(Session, Session.id == Message.session_id)
    return UserOut(
        user=user,
        sessions=await count(Session),
        messages=await db.scalar(messages.where(*_mine(Session, owner, user))) or 0,
        memories=await count(Memory),
        characters=await db.scalar(met.where(*_mine(Bond, owner, user))) or 0,
        last_at=await db.scalar(select(func.max(Session.updated_at)).where(*_mine(Session, owner, user))),
    )
