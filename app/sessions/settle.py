"""Settle: what follows from the branch that is current, after anything but a plain next turn."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.bond.rules import rules_of
from app.bond.store import lock_bond, replay_bond
from app.characters.schemas import CharacterFields
from app.sessions.store import Scope, begins_exchange, branch_ids, chunks
from app.tables import Bond, Character, Memory, Message, Session


async def settle(db: AsyncSession, scope: Scope, session: Session) -> Bond:
    """Let only what is on the session's current branch count, of a deleted session nothing; returns the bond.

    In a group they count for every member who heard them, too. Sets `active` of its messages and `retired` of the
    memories that were made of them, and sums the bonds up anew. Rows only change their marks: banks stay, and going
    back brings back exactly what was. The caller has set the session's leaf and, before it read what it changes, locked
    the bonds.
    """
    bond = await lock_bond(db, scope)
    await db.flush()
    await _mark_branch(db, session)
    await retire(db, session.id)
    for one in await parties(db, session):
        counted_for = bond if one == scope.character_id else await lock_bond(db, replace(scope, character_id=one))
        character = await db.get_one(Character, one)
        await replay_bond(db, counted_for, rules_of(CharacterFields.model_validate(character.document)))
    await db.flush()
    return bond


async def parties(db: AsyncSession, session: Session) -> list[str]:
    """Whom a conversation counts for: its character, or its group and all who ever heard a message of it; sorted, which
    is the order in which bonds are locked."""
    heard = select(Message.audience).where(Message.session_id == session.id, Message.speaker_id.is_not(None))
    ids = {session.character_id, *(one for audience in await db.scalars(heard.distinct()) for one in audience or ())}
    if len(ids) == 1:
        return list(ids)
    return sorted(await db.scalars(select(Character.id).where(Character.id.in_(ids))))


async def _mark_branch(db: AsyncSession, session: Session) -> None:
    leaf_id = session.leaf_id if session.deleted_at is None else None
    on_branch = Message.id.in_(branch_ids(leaf_id))
    mine = Message.session_id == session.id
    await db.execute(update(Message).where(mine, Message.active, ~on_branch).values(active=False))
    await db.execute(update(Message).where(mine, ~Message.active, on_branch).values(active=True))


async def retire(db: AsyncSession, session_id: str) -> None:
    """Mark the memories of a session's exchanges: one counts while it is on a current branch."""
    copy = aliased(Message)
    made_here = select(copy.id).where(copy.session_id == session_id, begins_exchange(copy), copy.origin_id.is_(None))
    copied_here = select(copy.origin_id).where(copy.session_id == session_id, begins_exchange(copy))
    query = select(Memory.id, Memory.retired, counted().label("counted")).where(
        or_(Memory.message_id.in_(made_here), Memory.message_id.in_(copied_here))
    )
    changed = sorted(row.id for row in await db.execute(query) if row.retired == row.counted)
    for ids in chunks(changed):
        # The background locks rows in the order of their ids.
        await db.execute(select(Memory.id).where(Memory.id.in_(ids)).order_by(Memory.id).with_for_update())
        await db.execute(update(Memory).where(Memory.id.in_(ids)).values(retired=~Memory.retired))


def counted() -> ColumnElement[bool]:
    """Whether a memory's exchange is on a current branch: its reply, or a copy of it, below its message or a copy.

    That both are current somewhere is not enough. After an edit and a fork they may be on different branches.
    """
    said, reply = aliased(Message), aliased(Message)
    answered = exists().where(
        reply.active,
        reply.role == "assistant",
        or_(reply.id == Memory.reply_id, reply.origin_id == Memory.reply_id),
        said.id == reply.parent_id,
        or_(said.id == Memory.message_id, said.origin_id == Memory.message_id),
    )
    asked = exists().where(
        said.active, said.role == "user", or_(said.id == Memory.message_id, said.origin_id == Memory.message_id)
    )
    return or_(answered, and_(Memory.reply_id.is_(None), asked))
