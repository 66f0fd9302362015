"""Where bonds are kept, and what they are the sum of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.bond.affinity import Stage, Standing, replayed, stepped, strangers
from app.sessions.store import Scope, branch_ids
from app.tables import Bond, Floats, Message, Session, now

Counts = Callable[[type[Message]], ColumnElement[bool]]
"""Which messages count."""


@dataclass(frozen=True, slots=True)
class BondState:
    """The bond as a turn finds it. `mood` is float32 [8]."""

    affinity: float
    stage: str
    mood: Floats
    turns: int
    memory_revision: int


async def read_bond(db: AsyncSession, scope: Scope) -> BondState:
    """The bond of a user with a character; a new one when they have not met."""
    row = await db.scalar(_query(scope))
    return _state(strangers() if row is None else _standing(row), row)


async def lock_bond(db: AsyncSession, scope: Scope) -> Bond:
    """The bond's row, made if need be, locked until the transaction ends: two turns at once both count."""
    locked = _query(scope).with_for_update().execution_options(populate_existing=True)
    bond = await db.scalar(locked)
    if bond is not None:
        return bond
    fields = {"owner": scope.owner, "user": scope.user, "character_id": scope.character_id}
    insert = postgresql_insert if db.get_bind().dialect.name == "postgresql" else sqlite_insert
    await db.execute(insert(Bond).values(**fields).on_conflict_do_nothing())
    return (await db.scalars(locked)).one()


def step_bond(bond: Bond, emotion: Floats, stages: Sequence[Stage]) -> None:
    """Count one more exchange, later than all others; equals `replay_bond` then."""
    _stand(bond, stepped(_standing(bond), emotion, stages))


async def bond_on(
    db: AsyncSession, scope: Scope, session_id: str, last_id: str | None, stages: Sequence[Stage]
) -> BondState:
    """The bond as it is for who goes on from a message that is not the current leaf of its session.

    Of that session counts what is on the path to the message, so that a reply is made anew as it was made first.
    """
    row = await db.scalar(_query(scope))
    if row is None:
        return await read_bond(db, scope)
    path = branch_ids(last_id)
    base, since = _base(row.base)
    felt = await _felt(
        db, scope, since, lambda one: or_(and_(one.active, one.session_id != session_id), one.id.in_(path))
    )
    return _state(replayed(base, felt, stages), row)


async def replay_bond(db: AsyncSession, bond: Bond, stages: Sequence[Stage]) -> None:
    """Sum up a locked bond anew, from what was said on current branches."""
    scope = Scope(bond.owner, bond.user, bond.character_id)
    base, since = _base(bond.base)
    _stand(bond, replayed(base, await _felt(db, scope, since, lambda one: one.active.is_(True)), stages))


async def _felt(db: AsyncSession, scope: Scope, since: datetime | None, counts: Counts) -> list[Floats]:
    """How each message felt that the user said and that was answered, in the order in which it was said, copies once.

    An edited message is younger than what follows it; nothing is said before what stands above it.
    """
    reply = aliased(Message)
    answered = exists().where(reply.parent_id == Message.id, reply.role == "assistant", counts(reply))
    query = (
        select(Message.id, Message.origin_id, Message.session_id, Message.created_at, Message.emotion)
        .join(Session, Session.id == Message.session_id)
        .where(*_mine(scope), counts(Message), Message.role == "user", Message.emotion.is_not(None), answered)
        .order_by(Session.created_at, Session.id, Message.depth)
    )
    if since is not None:
        query = query.where(Message.created_at > since)
    latest: dict[str, datetime] = {}
    said: list[tuple[datetime, str, Floats]] = []
    for row in await db.execute(query):
        latest[row.session_id] = max(row.created_at, latest.get(row.session_id, row.created_at))
        said.append((latest[row.session_id], row.origin_id or row.id, row.emotion))
    once: dict[str, Floats] = {}
    for _moment, name, emotion in sorted(said, key=itemgetter(0)):
        once.setdefault(name, emotion)
    return list(once.values())


def _state(standing: Standing, row: Bond | None) -> BondState:
    revision = 0 if row is None else row.memory_revision
    return BondState(standing.affinity, standing.stage, standing.mood, standing.turns, revision)


def _standing(bond: Bond) -> Standing:
    mood = strangers().mood if bond.mood is None else bond.mood
    return Standing(bond.affinity, bond.stage, mood, bond.turns)


def _stand(bond: Bond, standing: Standing) -> None:
    bond.affinity, bond.stage, bond.turns = standing.affinity, standing.stage, standing.turns
    bond.mood = standing.mood
    bond.updated_at = now()


def _base(document: dict[str, Any] | None) -> tuple[Standing, datetime | None]:
    """Where the sum begins, and after which moment; see `Bond.base`."""
    if document is None:
        return strangers(), None
    mood = np.array(document["mood"], np.float32) if document["mood"] else strangers().mood
    standing = Standing(document["affinity"], document["stage"], mood, document["turns"])
    return standing, datetime.fromisoformat(document["at"])


def _mine(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    return (Session.owner == scope.owner, Session.user == scope.user, Session.character_id == scope.character_id)


def _query(scope: Scope) -> Select[Bond]:
    return select(Bond).where(
        Bond.owner == scope.owner, Bond.user == scope.user, Bond.character_id == scope.character_id
    )
