"""Where bonds are kept, and what they are the sum of."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.bond.affinity import Felt, Moved, Put, Rules, Standing, Step, replayed, stepped, strangers
from app.bond.rounds import Counts, felt_in_groups
from app.sessions.store import Scope, branch_ids
from app.tables import Bond, BondEvent, Floats, Message, Session, now

WAITING = "waiting"
"""The kind of an event that is yet to be judged; it changes nothing."""
CHANGES_MEANWHILE = 1000
"""By which a bond's `memory_revision` may have been raised since it was seen."""


@dataclass(frozen=True, slots=True)
class BondState:
    """The bond as a turn finds it; `id` is None for one that is not there yet."""

    standing: Standing
    memory_revision: int
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Dated:
    """A step, when it was taken, and what it was: a message of the user's, or something that happened."""

    at: datetime
    step: Step
    message_id: str | None = None
    event: BondEvent | None = None


async def read_bond(db: AsyncSession, scope: Scope, rules: Rules) -> BondState:
    """The bond of a user with a character, by the rules as they are now; a new one when they have not met."""
    row = await db.scalar(_query(scope))
    if row is None:
        return BondState(strangers(rules), 0)
    return BondState(await standing_of(db, row, rules), row.memory_revision, row.id)


async def standing_of(db: AsyncSession, bond: Bond, rules: Rules) -> Standing:
    """How two stand by these rules; the database is asked only where others summed the bond up."""
    scope = Scope(bond.owner, bond.user, bond.character_id)
    return _kept(bond, rules) or await _summed(db, scope, bond.base, rules, _current)


async def lock_bond(db: AsyncSession, scope: Scope) -> Bond:
    """The bond's row, made if need be, locked until the transaction ends: two turns at once both count."""
    bond = await hold_bond(db, scope)
    if bond is not None:
        return bond
    fields = {"owner": scope.owner, "user": scope.user, "character_id": scope.character_id}
    insert = postgresql_insert if db.get_bind().dialect.name == "postgresql" else sqlite_insert
    await db.execute(insert(Bond).values(**fields).on_conflict_do_nothing())
    return (await db.scalars(_locked(scope))).one()


async def hold_bond(db: AsyncSession, scope: Scope) -> Bond | None:
    """The bond's row as `lock_bond` gives it, None where there is none: who only tidies up makes nobody known again."""
    return await db.scalar(_locked(scope))


async def hold_seen(db: AsyncSession, scope: Scope, seen: BondState) -> bool:
    """Whether a bond that was seen a moment ago is there still, and stays until the transaction ends.

    SQLite gives ids out again, so one that was made anew is told by its `memory_revision`, which begins at random.
    """
    if seen.id is None:
        return True
    raised = Bond.memory_revision.between(seen.memory_revision, seen.memory_revision + CHANGES_MEANWHILE)
    same = select(Bond.id).where(*_of(scope), Bond.id == seen.id, raised)
    return await db.scalar(same.with_for_update(read=True)) is not None


async def count_exchange(db: AsyncSession, bond: Bond, emotion: Floats, rules: Rules) -> None:
    """Count one more exchange, later than all others; the rows that it is made of are flushed, the bond is locked."""
    kept = _kept(bond, rules)
    if kept is None:
        await replay_bond(db, bond, rules)
    else:
        _stand(bond, stepped(kept, Felt(emotion), rules), rules)


async def bond_on(db: AsyncSession, scope: Scope, session_id: str, last_id: str | None, rules: Rules) -> BondState:
    """The bond as it is for who goes on from a message that is not the current leaf of its session.

    Of that session counts what is on the path to the message, so that a reply is made anew as it was made first.
    """
    row = await db.scalar(_query(scope))
    if row is None:
        return await read_bond(db, scope, rules)
    path = branch_ids(last_id)

    def counts(one: type[Message]) -> ColumnElement[bool]:
        return or_(and_(one.active, one.session_id != session_id), one.id.in_(path))

    return BondState(await _summed(db, scope, row.base, rules, counts), row.memory_revision, row.id)


async def replay_bond(db: AsyncSession, bond: Bond, rules: Rules) -> None:
    """Sum up a locked bond anew, from what was said and what happened on current branches."""
    scope = Scope(bond.owner, bond.user, bond.character_id)
    _stand(bond, await _summed(db, scope, bond.base, rules, _current), rules)


async def bond_history(db: AsyncSession, scope: Scope, rules: Rules) -> list[tuple[Dated, Standing]]:
    """Every step that counts, in order, and how the two stood after it."""
    row = await db.scalar(_query(scope))
    base, since = _base(row.base if row else None, rules)
    steps = await _steps(db, scope, since, _current)
    standings = replayed(base, (dated.step for dated in steps), rules)
    next(standings)
    return list(zip(steps, standings, strict=True))


async def _summed(
    db: AsyncSession, scope: Scope, written: dict[str, Any] | None, rules: Rules, counts: Counts
) -> Standing:
    base, since = _base(written, rules)
    steps = await _steps(db, scope, since, counts)
    return deque(replayed(base, (dated.step for dated in steps), rules), maxlen=1).pop()


async def _steps(db: AsyncSession, scope: Scope, since: datetime | None, counts: Counts) -> list[Dated]:
    """All that moved the bond, in its order; what was said comes before what happened at the same moment."""
    return sorted(
        [*await _felt(db, scope, since, counts), *await _happened(db, scope, since, counts)], key=attrgetter("at")
    )


async def _felt(db: AsyncSession, scope: Scope, since: datetime | None, counts: Counts) -> list[Dated]:
    """How each message felt that the user said and that was answered, in the order in which it was said, copies once.

    An edited message is younger than what follows it; nothing is said before what stands above it.
    """
    reply = aliased(Message)
    answered = exists().where(
        reply.parent_id == Message.id, reply.role == "assistant", reply.speaker_id.is_(None), counts(reply)
    )
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
    for row in (*await db.execute(query), *await felt_in_groups(db, scope, since, counts)):
        latest[row.session_id] = max(row.created_at, latest.get(row.session_id, row.created_at))
        said.append((latest[row.session_id], row.origin_id or row.id, row.emotion))
    once: dict[str, Dated] = {}
    for moment, name, emotion in sorted(said, key=itemgetter(0)):
        once.setdefault(name, Dated(moment, Felt(emotion), message_id=name))
    return list(once.values())


async def _happened(db: AsyncSession, scope: Scope, since: datetime | None, counts: Counts) -> list[Dated]:
    """What moved the bond and was not said; what belongs to a message counts while that or a copy of it does."""
    said = aliased(Message)
    there = exists().where(or_(said.id == BondEvent.message_id, said.origin_id == BondEvent.message_id), counts(said))
    query = select(BondEvent).where(
        *events_of(scope), BondEvent.kind != WAITING, or_(BondEvent.message_id.is_(None), there)
    )
    if since is not None:
        query = query.where(BondEvent.created_at > since)
    rows = await db.scalars(query.order_by(BondEvent.created_at, BondEvent.id))
    return [Dated(row.created_at, _step(row), row.message_id, row) for row in rows]


def _step(row: BondEvent) -> Step:
    return Put(row.numbers) if row.kind == "set" else Moved(row.numbers)


def _current(one: type[Message]) -> ColumnElement[bool]:
    return one.active.is_(True)


def _kept(bond: Bond, rules: Rules) -> Standing | None:
    """The sum that is stored, if these rules made it."""
    if bond.rules != rules.digest:
        return None
    mood = strangers(rules).mood if bond.mood is None else bond.mood
    return Standing(bond.affinity, bond.stage, mood, bond.turns, bond.variables or {})


def _stand(bond: Bond, standing: Standing, rules: Rules) -> None:
    bond.affinity, bond.stage, bond.turns = standing.affinity, standing.stage, standing.turns
    bond.mood, bond.variables = standing.mood, dict(standing.variables)
    bond.rules = rules.digest
    bond.updated_at = now()


def _base(document: dict[str, Any] | None, rules: Rules) -> tuple[Standing, datetime | None]:
    """Where the sum begins, and after which moment; see `Bond.base`."""
    begun = strangers(rules)
    if document is None:
        return begun, None
    mood = np.array(document["mood"], np.float32) if document["mood"] else begun.mood
    standing = Standing(document["affinity"], document["stage"], mood, document["turns"], begun.variables)
    return standing, datetime.fromisoformat(document["at"])


def events_of(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    """The conditions for what happened to belong to a bond."""
    return (
        BondEvent.owner == scope.owner,
        BondEvent.user == scope.user,
        BondEvent.character_id == scope.character_id,
    )


def _mine(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    return (Session.owner == scope.owner, Session.user == scope.user, Session.character_id == scope.character_id)


def _locked(scope: Scope) -> Select[Bond]:
    return _query(scope).with_for_update().execution_options(populate_existing=True)


def _query(scope: Scope) -> Select[Bond]:
    return select(Bond).where(*_of(scope))


def _of(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    return (Bond.owner == scope.owner, Bond.user == scope.user, Bond.character_id == scope.character_id)
