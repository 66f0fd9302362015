"""Where conversations are found and how they grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import CTE, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.errors import NotFound
from app.sessions.tree import ROOT, path_hashes, step
from app.tables import Message as Row
from app.tables import Session, new_id, now
from models.scene import Message

Id = TypeVar("Id", str, int)
LOOKUP = 200
"""Path hashes or ids in one query; databases limit the parameters of a statement."""


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
        matched = await _match(db, scope, messages, None)
        return _unmatched(messages) if await _begins_anew(db, matched) else matched
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
    return list(await db.scalars(select(Row).where(Row.id.in_(branch_ids(leaf_id))).order_by(Row.depth)))


def branch_ids(leaf_id: str | None) -> Select[str]:
    """The ids from a leaf up to its root, as a subquery; none for None."""
    up: CTE = select(Row.id, Row.parent_id).where(Row.id == leaf_id).cte(recursive=True)
    parent = aliased(Row)
    up = up.union_all(select(parent.id, parent.parent_id).join(up, parent.id == up.c.parent_id))
    return select(up.c.id)


def chunks(ids: Sequence[Id]) -> Iterator[Sequence[Id]]:
    """Ids in pieces that fit into one query."""
    return (ids[begin : begin + LOOKUP] for begin in range(0, len(ids), LOOKUP))


async def append(db: AsyncSession, place: Place, session_id: str, turn_id: str) -> list[Row]:
    """Store what of the history is not stored yet, and return it.

    What is said again on another branch, as by a client that edits a message and sends all that followed it again, is a
    copy of what was said there. The last message is new: it is what the turn is about.
    """
    parent = await db.get_one(Row, place.parent_id) if place.parent_id else None
    fresh = place.history[place.stored :]
    before = await _said_before(db, place.session_id, parent.depth + 1 if parent else 0, len(fresh) - 1)
    rows: list[Row] = []
    for message in fresh:
        row = child(session_id, parent, message, turn_id)
        told = before.get((row.depth, step(ROOT, message.role, message.content)))
        if told is not None:
            _copy_of(row, told)
        db.add(row)
        await db.flush()
        rows.append(row)
        parent = row
    return rows


def child(session_id: str, parent: Row | None, message: Message, turn_id: str | None) -> Row:
    """A message row below a parent; where the parent was deleted meanwhile it is restored together with it."""
    return Row(
        id=new_id(),
        session_id=session_id,
        parent_id=parent.id if parent else None,
        depth=parent.depth + 1 if parent else 0,
        role=message.role,
        text=message.content,
        path_hash=step(parent.path_hash if parent else ROOT, message.role, message.content),
        turn_id=turn_id,
        created_at=now(),
        deleted_at=parent.deleted_at if parent else None,
    )


def original(row: Row) -> str:
    """The id by which a message is known, itself or a copy of it."""
    return row.origin_id or row.id


def copy(told: Row, session_id: str, parent: Row | None) -> Row:
    """A copy of a message below another parent; said when the original was, and known by it."""
    row = child(session_id, parent, _said(told), told.turn_id)
    _copy_of(row, told)
    return row


def _copy_of(row: Row, told: Row) -> None:
    row.origin_id = original(told)
    row.created_at, row.emotion = told.created_at, told.emotion
    row.outcome, row.name, row.turn_id = told.outcome, told.name, told.turn_id


async def _said_before(db: AsyncSession, session_id: str | None, first: int, count: int) -> dict[tuple[int, str], Row]:
    """A session's messages of `count` depths from `first` on, by their depth and what they say."""
    if session_id is None or count < 1:
        return {}
    depths = Row.depth.between(first, first + count - 1)
    query = select(Row).where(Row.session_id == session_id, depths, Row.deleted_at.is_(None))
    rows = await db.scalars(query.order_by(Row.created_at))
    return {(row.depth, step(ROOT, row.role, row.text)): row for row in rows}


async def _match(db: AsyncSession, scope: Scope, messages: Sequence[Message], session_id: str | None) -> Place:
    hashes = path_hashes(messages)
    for end in range(len(hashes), 0, -LOOKUP):
        asked = hashes[max(0, end - LOOKUP) : end]
        leaf = await _newest(db, scope, asked, session_id)
        if leaf is not None:
            branch = await read_branch(db, leaf.id)
            ids = [row.id for row in branch] + [None] * (len(messages) - len(branch))
            return Place(leaf.session_id, tuple(messages), tuple(ids), leaf.id, leaf.path_hash)
    return _unmatched(messages, session_id)


def _unmatched(messages: Sequence[Message], session_id: str | None = None) -> Place:
    return Place(session_id, tuple(messages), tuple(None for _ in messages))


async def _begins_anew(db: AsyncSession, place: Place) -> bool:
    """Whether a first message is no new try in the conversation that begins the same, because that has gone on.

    Many conversations begin with the same greeting or the same hello. One that became a branch of another would put out
    what was said there.
    """
    asked = [n for n, message in enumerate(place.history) if message.role == "user"]
    if len(asked) > 1 or place.parent_id is None:
        return False
    # Below the message that is tried anew: its replies, and what was said to these.
    below = [place.parent_id]
    for _generation in range(2 if place.stored == len(place.history) else 3):
        query = select(Row.id).where(Row.parent_id.in_(below), Row.deleted_at.is_(None))
        below = list(await db.scalars(query.limit(LOOKUP)))
    return bool(below)


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
            Row.deleted_at.is_(None),
        )
        # A fork has the times of what it is a fork of.
        .order_by(Row.depth.desc(), Row.created_at.desc(), Session.created_at.desc(), Row.id)
        .limit(1)
    )
    if session_id is not None:
        query = query.where(Row.session_id == session_id)
    found: Row | None = await db.scalar(query)
    return found


def _said(row: Row) -> Message:
    return Message("assistant" if row.role == "assistant" else "user", row.text)
