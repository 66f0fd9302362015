"""Where bonds are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.sessions.store import Scope
from app.tables import Bond, Floats
from retrieval.emotion import EMOTIONS


@dataclass(frozen=True, slots=True)
class BondState:
    """The bond as a turn finds it. `mood` is float32 [8]."""

    affinity: float
    stage: str
    mood: Floats
    turns: int
    memory_revision: int


def _calm() -> Floats:
    return np.zeros(len(EMOTIONS), np.float32)


async def read_bond(db: AsyncSession, scope: Scope) -> BondState:
    """The bond of a user with a character; a new one when they have not met."""
    row = await db.scalar(_query(scope))
    if row is None:
        return BondState(0.0, "", _calm(), 0, 0)
    mood = _calm() if row.mood is None else row.mood
    return BondState(row.affinity, row.stage, mood, row.turns, row.memory_revision)


async def lock_bond(db: AsyncSession, scope: Scope) -> Bond:
    """The bond's row, made if need be, locked until the transaction ends: two turns at once both count."""
    fields = {"owner": scope.owner, "user": scope.user, "character_id": scope.character_id}
    insert = postgresql_insert if db.get_bind().dialect.name == "postgresql" else sqlite_insert
    await db.execute(insert(Bond).values(**fields).on_conflict_do_nothing())
    return (await db.scalars(_query(scope).with_for_update())).one()


def _query(scope: Scope) -> Select[Bond]:
    return select(Bond).where(
        Bond.owner == scope.owner, Bond.user == scope.user, Bond.character_id == scope.character_id
    )
