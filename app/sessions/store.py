"""Where conversations are found and how they grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import CTE, ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.errors import NotFound
from app.sessions.tree import ROOT, said_hash, step
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


def begins_exchange(one: type[Row]) -> ColumnElement[bool]:
    """Messages that a memory may begin with: the user's; in a group also what a member said, which others heard."""
    return or_(one.role == "user", one.speaker_id.is_not(None))


def chunks(ids: Sequence[Id]) -> Iterator[Sequence[Id]]:
    """Ids in pieces that fit into one query."""
    return (ids[begin : begin + LOOKUP] for begin in range(0, len(ids), LOOKUP))


async def append(db: AsyncSession, place: Place, session_id: str, turn_id: str) -> list[Row]:
    """Add what of the history is not stored yet, and return it; the caller flushes.

    What is said again on another branch, as by a client that edits a message and sends all that followed it again, is a
    copy of what was said there. The last message is new: it is what the turn is about.
    """
    parent = await db.get_one(Row, place.parent_id) if place.parent_id else None
    fresh = place.history[place.stored :]
    before = await _said_before(db, place.session_id, parent.depth + 1 if parent else 0, len(fresh) - 1)
    rows: list[Row] = []
    for message in fresh:
        row = child(session_id, parent, message, turn_id)
        told = before.get((row.depth, said_hash(message.role, message.content)))
        if told is not None:
            _copy_of(row, told)
        rows.append(row)
        parent = row
    db.add_all(rows)
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


def edition(told: Row, parent: Row | None, text: str) -> Row:
    """Another version of a message, beside it."""
    row = child(told.session_id, parent, Message(_said(told).role, text), None)
    row.name = told.name
    heard_alike(row, told)
    return row


def heard_alike(row: Row, told: Row) -> None:
    """Let a version or a copy be said by the same member, and heard by the same, as the message that it is of."""
    row.speaker_id = told.speaker_id
    if told.audience is not None:
        row.audience = told.audience


def _copy_of(row: Row, told: Row) -> None:
    row.origin_id = original(told)
    row.created_at, row.emotion = told.created_at, told.emotion
    row.outcome, row.name, row.turn_id = told.outcome, told.name, told.turn_id
    heard_alike(row, told)


async def _said_before(db: AsyncSession, session_id: str | None, first: int, count: int) -> dict[tuple[int, str], Row]:
    """A session's messages of `count` depths from `first` on, by their depth and what they say."""
    if session_id is None or count < 1:
        return {}
    depths = Row.depth.between(first, first + count - 1)
    query = select(Row).where(Row.session_id == session_id, depths, Row.deleted_at.is_(None))
    rows = await db.scalars(query.order_by(Row.created_at))
    return {(row.depth, row.said_hash): row for row in rows}


def _said(row: Row) -> Message:
    return Message("assistant" if row.role == "assistant" else "user", row.text)
