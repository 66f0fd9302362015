"""Where conversations are found and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.errors import NotFound
from app.sessions.tree import ROOT, path_hashes, step
from app.tables import Message as Row
from app.tables import Session, new_id, now
from models.scene import Message

LOOKUP = 200
"""Path hashes asked for in one query."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose conversations: one user of one owner with one character."""

    owner: str
    user: str
    character_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a turn goes in a session's tree.

    `history` is the whole conversation as the prompt may use it and ends with the user's message; `ids` has, for each
    of its messages, the id it is stored under, or None while it is not. What is not stored hangs below `parent_id`.
    """

    session_id: str | None
    history: tuple[Message, ...]
    ids: tuple[str | None, ...]
    parent_id: str | None = None
    parent_hash: str = ROOT

    @property
    def stored(self) -> int:
        """How many messages of the history are stored already; they are its first ones."""
        return sum(message_id is not None for message_id in self.ids)


async def locate(db: AsyncSession, scope: Scope, messages: Sequence[Message], session_id: str | None) -> Place:
    """The branch point of a request: the longest prefix of its messages that is stored, newest session first.

    With a `session_id`, messages that do not begin at the session's root continue its current branch.

    Raises:
        NotFound: no such session in this scope.
    """
    if session_id is None:
        return await _match(db, scope, messages, None)
    session = await find_session(db, scope, session_id)
    matched = await _match(db, scope, messages, session_id)
    if matched.stored or session.leaf_id is None:
        return matched
    branch = await read_branch(db, session.leaf_id)
    history = (*(_said(row) for row in branch), *messages)
    ids = (*(row.id for row in branch), *(None for _ in messages))
    return Place(session_id, history, ids, branch[-1].id, branch[-1].path_hash)


async def find_session(db: AsyncSession, scope: Scope, session_id: str) -> Session:
    """A session of this scope; raises `NotFound` for any other, without saying whether it exists."""
    query = select(Session).where(
        Session.id == session_id,
        Session.owner == scope.owner,
        Session.character_id == scope.character_id,
        Session.deleted_at.is_(None),
    )
    session = await db.scalar(query.where(Session.user == scope.user))
    if session is None:
        raise NotFound(
            f"You have no session {session_id!r} with this character and user. GET /api/sessions lists yours.",
            code="session_not_found",
        )
    return session


async def read_branch(db: AsyncSession, leaf_id: str) -> list[Row]:
    """The messages from the root to a leaf."""
    up = select(Row.id, Row.parent_id).where(Row.id == leaf_id).cte(recursive=True)
    parent = aliased(Row)
    up = up.union_all(select(parent.id, parent.parent_id).join(up, parent.id == up.c.parent_id))
    rows = await db.scalars(select(Row).where(Row.id.in_(select(up.c.id))).order_by(Row.depth))
    return list(rows)


async def append(db: AsyncSession, place: Place, session_id: str, turn_id: str) -> Row:
    """Store what of the history is not stored yet; returns the row of the user's message, the history's last."""
    parent_id, parent_hash = place.parent_id, place.parent_hash
    row: Row | None = None
    for depth in range(place.stored, len(place.history)):
        message = place.history[depth]
        row = child(session_id, parent_id, parent_hash, depth, message, turn_id)
        db.add(row)
        await db.flush()
        parent_id, parent_hash = row.id, row.path_hash
    if row is None:
        row = await db.get_one(Row, place.ids[-1])
    return row


def child(
    session_id: str, parent_id: str | None, parent_hash: str, depth: int, message: Message, turn_id: str | None
) -> Row:
    """A message row below a parent."""
    return Row(
        id=new_id(),
        session_id=session_id,
        parent_id=parent_id,
        depth=depth,
        role=message.role,
        text=message.content,
        path_hash=step(parent_hash, message.role, message.content),
        turn_id=turn_id,
        created_at=now(),
    )


async def _match(db: AsyncSession, scope: Scope, messages: Sequence[Message], session_id: str | None) -> Place:
    hashes = path_hashes(messages)
    for end in range(len(hashes), 0, -LOOKUP):
        asked = hashes[max(0, end - LOOKUP) : end]
        leaf = await _newest(db, scope, asked, session_id)
        if leaf is not None:
            branch = await read_branch(db, leaf.id)
            ids = [row.id for row in branch] + [None] * (len(messages) - len(branch))
            return Place(leaf.session_id, tuple(messages), tuple(ids), leaf.id, leaf.path_hash)
    return Place(session_id, tuple(messages), tuple(None for _ in messages))


async def _newest(db: AsyncSession, scope: Scope, hashes: Sequence[str], session_id: str | None) -> Row | None:
    """The deepest stored message with one of these path hashes; among equals, the newest."""
    query = (
        select(Row)
        .join(Session, Session.id == Row.session_id)
        .where(
            Row.path_hash.in_(hashes),
            Session.owner == scope.owner,
            Session.user == scope.user,
            Session.character_id == scope.character_id,
            Session.deleted_at.is_(None),
        )
        .order_by(Row.depth.desc(), Row.created_at.desc(), Row.id)
        .limit(1)
    )
    if session_id is not None:
        query = query.where(Row.session_id == session_id)
    found: Row | None = await db.scalar(query)
    return found


def _said(row: Row) -> Message:
    return Message("assistant" if row.role == "assistant" else "user", row.text)
