"""How a tree changes by hand: another branch is chosen, a message edited, deleted, restored, a session forked.

Every function expects a session that `open_own` or `hold_own` has locked, and settles it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import CTE, and_, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.errors import Conflict
from app.groups.remember import form_for_all
from app.memory.waiting import form_missing
from app.sessions.find import scope_of, speakers
from app.sessions.settle import settle
from app.sessions.store import chunks, copy, edition, read_branch
from app.tables import Character, Message, Session, new_id, now


async def choose(db: AsyncSession, session: Session, message_id: str | None) -> None:
    """Let the current branch go through a message, to the newest leaf below it; None is above the first messages."""
    below = await _newest_below(db, session, message_id)
    session.leaf_id = below[-1] if below else message_id
    session.updated_at = now()
    await settle(db, scope_of(session), session)


async def edit(
    db: AsyncSession, session: Session, character: Character, message: Message, text: str, *, keep: bool
) -> Message:
    """Another version of a message beside it, made current, with copies of what followed or with nothing below it."""
    rest = await _following(db, session, message) if keep else []
    parent = await db.get(Message, message.parent_id) if message.parent_id else None
    edited = edition(message, parent, text)
    rows = [edited]
    for row in rest:
        rows.append(copy(row, session.id, rows[-1]))
    db.add_all(rows)
    await db.flush()
    session.leaf_id, session.updated_at = rows[-1].id, now()
    branch = await read_branch(db, rows[-1].id)
    user, name = await speakers(db, session, character)
    if edited.audience is None:
        await form_missing(db, scope_of(session), branch, {edited.id}, names=(user, name))
    else:
        await form_for_all(db, scope_of(session), branch, {edited.id}, user)
    await settle(db, scope_of(session), session)
    return edited


async def delete(db: AsyncSession, session: Session, message: Message) -> None:
    """Hide a message with everything below it; what is current then is beside it, or above it."""
    moment = now()
    gone = await _subtree(db, message)
    await _mark_deleted(db, gone, moment)
    if session.leaf_id in gone:
        await choose(db, session, message.parent_id)
    else:
        session.updated_at = moment
        await settle(db, scope_of(session), session)


async def restore(db: AsyncSession, session: Session, message: Message) -> None:
    """Bring back a message and what was deleted with it, and make it current.

    Raises:
        Conflict: what it hangs below is deleted itself.
    """
    parent = await db.get(Message, message.parent_id) if message.parent_id else None
    if parent is not None and parent.deleted_at is not None:
        raise Conflict(f"The message above it is deleted as well; restore {parent.id} first.", code="parent_deleted")
    await _mark_deleted(db, await _subtree(db, message), None)
    await choose(db, session, message.id)


async def fork(db: AsyncSession, session: Session, message_id: str | None) -> Session:
    """A new session with copies of everything up to a message; what both hold counts once, while one is left."""
    forked = Session(
        id=new_id(),
        owner=session.owner,
        user=session.user,
        character_id=session.character_id,
        title=session.title,
        note=session.note,
        note_depth=session.note_depth,
    )
    db.add(forked)
    await db.flush()
    parent: Message | None = None
    for row in await read_branch(db, message_id) if message_id else []:
        parent = copy(row, forked.id, parent)
        db.add(parent)
    await db.flush()
    forked.leaf_id = parent.id if parent else None
    await settle(db, scope_of(forked), forked)
    return forked


async def _following(db: AsyncSession, session: Session, message: Message) -> list[Message]:
    """What comes below a message: on the current branch if it is on it, else down to the newest leaf."""
    if message.active and session.leaf_id:
        return [row for row in await read_branch(db, session.leaf_id) if row.depth > message.depth]
    ids = await _newest_below(db, session, message.id)
    rows = [row for some in chunks(ids) for row in await db.scalars(select(Message).where(Message.id.in_(some)))]
    return sorted(rows, key=lambda row: row.depth)


async def _newest_below(db: AsyncSession, session: Session, message_id: str | None) -> list[str]:
    """The ids below a message, or of a whole branch for None, going to the newest version each time.

    A copy has the time of what it is a copy of, but is newer. One look into the index of parents a level, so that it
    takes as long as the branch and not as the tree.
    """
    version = aliased(Message)
    newest = select(version.id).where(version.deleted_at.is_(None)).limit(1)
    newest = newest.order_by(version.created_at.desc(), version.origin_id.is_not(None).desc(), version.id.desc())
    roots = and_(version.session_id == session.id, version.parent_id.is_(None))
    above = version.parent_id == message_id if message_id else roots
    down = select(newest.where(above).scalar_subquery().label("id"), literal(0).label("level")).cte(recursive=True)
    further = newest.where(version.parent_id == down.c.id).correlate(down).scalar_subquery()
    down = down.union_all(select(further, down.c.level + 1).where(down.c.id.is_not(None)))
    return list(await db.scalars(select(down.c.id).where(down.c.id.is_not(None)).order_by(down.c.level)))


async def _subtree(db: AsyncSession, message: Message) -> list[str]:
    """A message and what hangs below it: what is not deleted either, or was deleted with it."""
    same = Message.deleted_at.is_(None) if message.deleted_at is None else Message.deleted_at == message.deleted_at
    below: CTE = select(Message.id).where(Message.id == message.id).cte(recursive=True)
    below = below.union_all(select(Message.id).join(below, Message.parent_id == below.c.id).where(same))
    return list(await db.scalars(select(below.c.id)))


async def _mark_deleted(db: AsyncSession, ids: Sequence[str], moment: datetime | None) -> None:
    for some in chunks(ids):
        await db.execute(update(Message).where(Message.id.in_(some)).values(deleted_at=moment))
