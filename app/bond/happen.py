"""What moves a bond and was not said: recorded, and counted at once."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.affinity import AFFINITY, Rules
from app.bond.rules import rules_of
from app.bond.schemas import BondChange, EventIn
from app.bond.store import lock_bond, replay_bond
from app.characters.schemas import CharacterFields
from app.errors import NotFound, Unprocessable
from app.sessions.store import Scope, original
from app.tables import BondEvent, Message, Session


async def happen(db: AsyncSession, scope: Scope, character: CharacterFields, told: EventIn) -> BondEvent:
    """Record an event and what it adds.

    Raises:
        NotFound: the message is not the user's with this character.
        Unprocessable: the character knows no such event, or no such number.
    """
    changes = event_changes(character, told.name, told.changes)
    row = BondEvent(kind="event", name=told.name, numbers=dict(changes), note=told.note)
    return await _record(db, scope, rules_of(character), row, told.message_id)


async def put(db: AsyncSession, scope: Scope, character: CharacterFields, change: BondChange) -> BondEvent:
    """Record what somebody set; raises as `happen` does."""
    numbers = dict(change.variables)
    if change.affinity is not None:
        numbers[AFFINITY] = change.affinity
    if change.stage is not None:
        stage = character.stage_named(change.stage)
        if stage is None:
            names = ", ".join(repr(stage.name) for stage in character.stages) or "none"
            raise Unprocessable(f"{character.name} has no stage {change.stage!r}; there is {names}.", param="stage")
        numbers[AFFINITY] = stage.affinity
    check_numbers(character, numbers)
    row = BondEvent(kind="set", name=change.stage or "", numbers=numbers, note=change.note)
    return await _record(db, scope, rules_of(character), row, change.message_id)


def event_changes(character: CharacterFields, name: str, changes: Mapping[str, float] | None) -> Mapping[str, float]:
    """What an event adds: as told, or as the character's rules have it."""
    if changes is None:
        known = character.bond.events
        if name not in known:
            names = ", ".join(repr(one) for one in known) or "none"
            raise Unprocessable(
                f"{character.name} has no event {name!r}; there is {names}. Or say in `changes` what it adds.",
                param="name",
            )
        changes = known[name]
    check_numbers(character, changes)
    return changes


def check_numbers(character: CharacterFields, numbers: Mapping[str, float]) -> None:
    """Raise `Unprocessable` for a number that this character's bonds don't have."""
    known = {AFFINITY, *character.bond.variables}
    if strange := sorted(set(numbers) - known):
        names = ", ".join(sorted(known))
        raise Unprocessable(f"{character.name}'s bonds have no {strange[0]!r}; there is {names}.", param=strange[0])


async def _record(db: AsyncSession, scope: Scope, rules: Rules, row: BondEvent, message_id: str | None) -> BondEvent:
    bond = await lock_bond(db, scope)
    row.owner, row.user, row.character_id = scope.owner, scope.user, scope.character_id
    row.message_id = await _original(db, scope, message_id) if message_id else None
    db.add(row)
    await db.flush()
    await replay_bond(db, bond, rules)
    await db.flush()
    return row


async def _original(db: AsyncSession, scope: Scope, message_id: str) -> str:
    query = select(Message).join(Session, Session.id == Message.session_id)
    mine = (Session.owner == scope.owner, Session.user == scope.user, Session.character_id == scope.character_id)
    message = await db.scalar(query.where(Message.id == message_id, *mine))
    if message is None:
        raise NotFound(f"The two have no message {message_id!r}.", code="message_not_found", param="message_id")
    return original(message)
