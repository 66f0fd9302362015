"""Conversations as people see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.sessions.schemas import MessageOut, SessionOut, SessionRead, SessionTree
from app.sessions.store import original, read_branch
from app.tables import Character, Memory, Message, Session


async def read_session(db: AsyncSession, session: Session, character: Character) -> SessionRead:
    """A conversation with its current branch."""
    branch = await read_branch(db, session.leaf_id) if session.leaf_id else []
    parents = {row.parent_id for row in branch}
    beside = or_(Message.parent_id.in_(parents - {None}), Message.parent_id.is_(None))
    versions = await _versions(db, Message.session_id == session.id, Message.deleted_at.is_(None), beside)
    shown = await _messages(db, session, branch, versions)
    return SessionRead(**(await _counted(db, session, character)).model_dump(), branch=shown)


async def read_tree(db: AsyncSession, session: Session, character: Character, *, deleted: bool) -> SessionTree:
    """A conversation with all its branches, the deleted ones too if they are asked for."""
    query = select(Message).where(Message.session_id == session.id)
    if not deleted:
        query = query.where(Message.deleted_at.is_(None))
    rows = list(await db.scalars(query.order_by(Message.depth, Message.created_at, Message.id)))
    versions = await _versions(db, Message.session_id == session.id, Message.deleted_at.is_(None))
    shown = await _messages(db, session, rows, versions)
    return SessionTree(**(await _counted(db, session, character)).model_dump(), tree=shown)


async def read_message(db: AsyncSession, session: Session, message: Message) -> MessageOut:
    """One message with its other versions."""
    beside = Message.parent_id == message.parent_id if message.parent_id else Message.parent_id.is_(None)
    versions = await _versions(db, Message.session_id == session.id, Message.deleted_at.is_(None), beside)
    return (await _messages(db, session, [message], versions))[0]


def show_session(session: Session, slug: str, messages: int) -> SessionOut:
    """A conversation in a list; `messages` counts those of all branches."""
    return SessionOut(
        id=session.id,
        character=slug,
        user=session.user,
        title=session.title,
        pinned=session.pinned,
        note=session.note,
        note_depth=session.note_depth,
        revision=session.revision,
        messages=messages,
        created_at=session.created_at,
        updated_at=session.updated_at,
        deleted_at=session.deleted_at,
    )


async def _counted(db: AsyncSession, session: Session, character: Character) -> SessionOut:
    mine = (Message.session_id == session.id, Message.deleted_at.is_(None))
    return show_session(session, character.slug, await db.scalar(select(func.count()).where(*mine)) or 0)


async def _versions(db: AsyncSession, *where: Any) -> dict[str | None, list[str]]:
    versions: dict[str | None, list[str]] = defaultdict(list)
    query = select(Message.id, Message.parent_id).where(*where)
    for row in await db.execute(query.order_by(Message.created_at, Message.id)):
        versions[row.parent_id].append(row.id)
    return versions


async def _messages(
    db: AsyncSession, session: Session, rows: Sequence[Message], versions: dict[str | None, list[str]]
) -> list[MessageOut]:
    pinned, slugs = await _pinned(db, session), await slugs_of(db, rows)
    return [
        MessageOut(
            id=row.id,
            parent_id=row.parent_id,
            origin_id=row.origin_id,
            role=row.role,
            name=row.name,
            speaker=slugs.get(row.speaker_id or ""),
            heard_by=None if row.audience is None else [slugs[one] for one in row.audience if one in slugs],
            text=row.text,
            outcome=row.outcome,
            turn_id=row.turn_id,
            active=row.active,
            pinned=original(row) in pinned,
            siblings=[other for other in versions[row.parent_id] if other != row.id],
            created_at=row.created_at,
            deleted_at=row.deleted_at,
        )
        for row in rows
    ]


async def _pinned(db: AsyncSession, session: Session) -> set[str | None]:
    query = select(Memory.message_id, Memory.reply_id).where(
        Memory.owner == session.owner,
        Memory.user == session.user,
        Memory.pinned,
    )
    return {name for row in await db.execute(query) for name in row}


async def slugs_of(db: AsyncSession, rows: Sequence[Message]) -> dict[str, str]:
    """The slugs of the members who said or heard messages of a group."""
    ids = {one for row in rows for one in row.audience or ()}
    if not ids:
        return {}
    found = await db.execute(select(Character.id, Character.slug).where(Character.id.in_(ids)))
    return {row.id: row.slug for row in found}
