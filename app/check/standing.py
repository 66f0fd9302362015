"""What counts: the marks of current branches, the memories made of them, and the bonds that they sum up to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError
from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.bond.rules import rules_of
from app.bond.store import lock_bond, replay_bond
from app.characters.schemas import CharacterFields
from app.check.run import AnyRow, Check
from app.sessions.settle import counted, settle
from app.sessions.store import Scope
from app.tables import Bond, Character, Floats, Memory, Message, Session
from retrieval.emotion import EMOTIONS

AFFINITY_TOLERANCE = 0.01
MOOD_TOLERANCE = 1e-3

Parent = aliased(Message, name="parent")
Child = aliased(Message, name="child")


def standing() -> Iterator[Check]:
    """The rules of what counts."""
    answered = exists().where(Child.parent_id == Message.id, Child.active)
    marks = (
        select(
            *(Message.id.label("key"), Message.session_id, Message.parent_id, Message.active),
            *(Parent.active.label("above"), Session.leaf_id, Session.deleted_at, answered.label("below")),
        )
        .join(Session, Session.id == Message.session_id)
        .outerjoin(Parent, Parent.id == Message.parent_id)
    )
    yield Check("messages with a wrong mark", marks, Message.id, _wrong_mark, _mend_marks)
    scope = (Memory.owner, Memory.user, Memory.character_id)
    memories = select(Memory.id.label("key"), *scope, Memory.retired, counted().label("counted"))
    memories = memories.where(Memory.message_id.is_not(None))
    yield Check("memories that count wrongly", memories, Memory.id, _wrong_memory, _mend_memory)
    bonds = select(Bond.id.label("key"), Bond.owner, Bond.user, Bond.character_id)
    yield Check("bonds that are no sum", bonds, Bond.id, mend=_mend_bond, deeper=_wrong_bond)


def _wrong_mark(row: AnyRow) -> str:
    """Every message by itself: the marks of a session are right when those of each are."""
    current = row.deleted_at is None and row.key == row.leaf_id
    if not row.active:
        return "it is the leaf and not active" if current else ""
    if row.deleted_at is not None:
        return "it is active in a deleted conversation"
    if row.parent_id is not None and not row.above:
        return "it is active below one that is not"
    return "" if current or row.below else "it is active and on no current branch"


async def _mend_marks(db: AsyncSession, row: AnyRow) -> None:
    session = await db.get_one(Session, row.session_id)
    scope = Scope(session.owner, session.user, session.character_id)
    await lock_bond(db, scope)
    await settle(db, scope, session)


def _wrong_memory(row: AnyRow) -> str:
    if row.retired != row.counted:
        return ""
    return "it is retired, but its exchange is current" if row.retired else "its exchange is on no current branch"


async def _mend_memory(db: AsyncSession, row: AnyRow) -> None:
    await lock_bond(db, Scope(row.owner, row.user, row.character_id))
    await db.execute(update(Memory).where(Memory.id == row.key).values(retired=not row.counted))


async def _wrong_bond(db: AsyncSession, row: AnyRow) -> str:
    """Compares it with its replay while nobody changes either; one of earlier rules is summed up anew anyway."""
    bond = await lock_bond(db, Scope(row.owner, row.user, row.character_id))
    affinity, turns, mood, stage, rules = bond.affinity, bond.turns, _mood(bond), bond.stage, bond.rules
    try:
        await _replay(db, bond)
    except ValidationError:
        # A character that can't be read is told by its own check.
        return ""
    finally:
        db.expunge(bond)
    if rules and rules != bond.rules:
        return ""
    faults = {
        f"affinity is {affinity:.2f}, not {bond.affinity:.2f}": abs(affinity - bond.affinity) > AFFINITY_TOLERANCE,
        f"turns are {turns}, not {bond.turns}": turns != bond.turns,
        f"the stage is {stage!r}, not {bond.stage!r}": bool(rules) and stage != bond.stage,
        "the mood is another": not np.allclose(mood, _mood(bond), atol=MOOD_TOLERANCE),
    }
    return ", ".join(fault for fault, wrong in faults.items() if wrong)


def _mood(bond: Bond) -> Floats:
    return np.zeros(len(EMOTIONS), np.float32) if bond.mood is None else bond.mood


async def _mend_bond(db: AsyncSession, row: AnyRow) -> None:
    await _replay(db, await lock_bond(db, Scope(row.owner, row.user, row.character_id)))


async def _replay(db: AsyncSession, bond: Bond) -> None:
    character = await db.get_one(Character, bond.character_id)
    await replay_bond(db, bond, rules_of(CharacterFields.model_validate(character.document)))
