"""How a tree changes by hand: another branch is chosen, a message edited, deleted, restored, a session forked.

Every function expects a session that `open_own` or `hold_own` has locked, and settles it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict
from app.memory.waiting import form_missing
from app.sessions.find import scope_of, speakers
from app.sessions.settle import settle
from app.sessions.store import chunks, copy, edition, read_branch
from app.tables import Character, Message, Session, new_id, now


async def choose(db: AsyncSession, session: Session, message_id: str | None) -> None:
    """Let the current branch go through a message, to the newest leaf below it; None is above the first messages."""
    below = await _children(db, session)
    while versions := below.get(message_id):
        message_id = max(versions, key=_newest).id
    session.leaf_id = message_id
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
    await form_missing(db, scope_of(session), branch, {edited.id}, names=speakers(session, character))
    await settle(db, scope_of(session), session)
    return edited


async def delete(db: AsyncSession, session: Session, message: Message) -> None:
    """Hide a message with everything below it; what is current then is beside it, or above it."""
    moment = now()
    below = await _children(db, session)
    gone = _subtree(below, message)
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
    below = await _children(db, session, deleted_at=message.deleted_at)
    await _mark_deleted(db, _subtree(below, message), None)
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
    below, rows = await _children(db, session), [message]
    while versions := below.get(rows[-1].id):
        rows.append(max(versions, key=_newest))
    return rows[1:]


async def _children(
    db: AsyncSession, session: Session, deleted_at: datetime | None = None
) -> dict[str | None, list[Message]]:
    """The session's messages by what they hang below: those that are not deleted, or that were deleted at a moment."""
    query = select(Message).where(Message.session_id == session.id)
    gone = Message.deleted_at.is_(None) if deleted_at is None else Message.deleted_at == deleted_at
    below: dict[str | None, list[Message]] = defaultdict(list)
    for row in await db.scalars(query.where(gone).execution_options(populate_existing=True)):
        below[row.parent_id].append(row)
    return below


def _newest(row: Message) -> tuple[datetime, bool, str]:
    """A copy has the time of what it is a copy of, but is newer."""
    return row.created_at, row.origin_id is not None, row.id


def _subtree(below: dict[str | None, list[Message]], message: Message) -> list[str]:
    found, ids = [message], []
    while found:
        row = found.pop()
        ids.append(row.id)
        found += below.get(row.id, [])
    return ids


async def _mark_deleted(db: AsyncSession, ids: Sequence[str], moment: datetime | None) -> None:
    for some in chunks(ids):
        await db.execute(update(Message).where(Message.id.in_(some)).values(deleted_at=moment))
