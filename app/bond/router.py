"""/api/bonds: what stands between a user and a character, what moved it, and what would."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller, CallerDep
from app.bond.affinity import Rules
from app.bond.happen import happen, put
from app.bond.rules import rules_of
from app.bond.schemas import (
    BondChange,
    BondOut,
    BondPage,
    EventIn,
    EventOut,
    History,
    HistoryStep,
    Recorded,
    Simulated,
    Simulation,
    show,
)
from app.bond.simulate import simulate
from app.bond.store import Dated, bond_history, events_of, hold_bond, read_bond, replay_bond, standing_of
from app.characters.schemas import CharacterFields
from app.characters.store import CHARACTER, find
from app.errors import NotFound
from app.services import ServicesDep
from app.sessions.store import Scope
from app.tables import LARGEST_ID, Bond, BondEvent, Character

router = APIRouter(prefix="/api/bonds", tags=["bonds"])
User = Annotated[str, Query(max_length=200)]
EventId = Annotated[int, Path(ge=0, le=LARGEST_ID)]


@router.get("")
async def list_bonds(
    caller: CallerDep,
    services: ServicesDep,
    user: Annotated[str | None, Query(max_length=200)] = None,
    character: Annotated[str, Query(description="A slug.", max_length=100)] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="`next` of the page before.")] = None,
) -> BondPage:
    """The bonds of the caller's users, the newest first."""
    query = select(Bond, Character).join(Character, Character.id == Bond.character_id)
    query = query.where(Bond.owner == caller.owner, Character.kind == CHARACTER, Character.deleted_at.is_(None))
    if user is not None:
        query = query.where(Bond.user == user)
    if before is not None:
        query = query.where(Bond.id < before)
    async with services.db.read() as db:
        if character:
            query = query.where(Bond.character_id == (await find(db, caller, character)).id)
        rows = list(await db.execute(query.order_by(Bond.id.desc()).limit(limit + 1)))
        items = []
        rules: dict[str, Rules] = {}
        for bond, one in rows[:limit]:
            if one.id not in rules:
                rules[one.id] = rules_of(CharacterFields.model_validate(one.document))
            standing = await standing_of(db, bond, rules[one.id])
            items.append(BondOut(character=one.slug, user=bond.user, **show(standing).model_dump()))
    return BondPage(items=items, next=rows[limit - 1][0].id if len(rows) > limit else None)


@router.get("/{slug}")
async def read(slug: str, caller: CallerDep, services: ServicesDep, user: User = "") -> BondOut:
    """The bond of one user with a character; before they have met it is the one they will begin with."""
    async with services.db.read() as db:
        character, scope = await _find(db, caller, slug, user)
        return await _show(db, scope, character)


@router.patch("/{slug}")
async def change(slug: str, body: BondChange, caller: CallerDep, services: ServicesDep, user: User = "") -> Recorded:
    """Set affinity, the stage or a variable. It is kept as what happened, and can be taken back."""
    async with services.db.write() as db:
        character, scope = await _find(db, caller, slug, user)
        event = await put(db, scope, CharacterFields.model_validate(character.document), body)
        return Recorded(event=_event(event), bond=await _show(db, scope, character))


@router.get("/{slug}/history")
async def history(
    slug: str,
    caller: CallerDep,
    services: ServicesDep,
    user: User = "",
    stages: Annotated[bool, Query(description="Only the steps at which the stage changed.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> History:
    """What moved the bond, step by step, by the rules as they are now: what counts, on current branches."""
    async with services.db.read() as db:
        character, scope = await _find(db, caller, slug, user)
        rules = rules_of(CharacterFields.model_validate(character.document))
        steps = await bond_history(db, scope, rules)
    told = [_step(dated, **show(standing).model_dump()) for dated, standing in steps]
    if stages:
        before = [None, *(step.stage for step in told)]
        told = [step for step, earlier in zip(told, before, strict=False) if step.stage != earlier]
    return History(items=told[-limit:], total=len(told))


@router.get("/{slug}/events")
async def list_events(
    slug: str,
    caller: CallerDep,
    services: ServicesDep,
    user: User = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=0, le=LARGEST_ID)] = None,
) -> list[EventOut]:
    """What happened between the two, the newest first, also what counts on no current branch."""
    async with services.db.read() as db:
        _character, scope = await _find(db, caller, slug, user)
        query = select(BondEvent).where(*events_of(scope)).order_by(BondEvent.id.desc()).limit(limit)
        if before is not None:
            query = query.where(BondEvent.id < before)
        return [_event(row) for row in await db.scalars(query)]


@router.post("/{slug}/events", status_code=201)
async def add_event(slug: str, body: EventIn, caller: CallerDep, services: ServicesDep, user: User = "") -> Recorded:
    """Tell of something that happened and moves the bond: a gift, a broken promise, a quest."""
    async with services.db.write() as db:
        character, scope = await _find(db, caller, slug, user)
        event = await happen(db, scope, CharacterFields.model_validate(character.document), body)
        return Recorded(event=_event(event), bond=await _show(db, scope, character))


@router.delete("/{slug}/events/{event_id}")
async def take_back(slug: str, event_id: EventId, caller: CallerDep, services: ServicesDep, user: User = "") -> BondOut:
    """Take an event back, and with it what it did."""
    async with services.db.write() as db:
        character, scope = await _find(db, caller, slug, user)
        event = await db.scalar(select(BondEvent).where(*events_of(scope), BondEvent.id == event_id))
        if event is None:
            raise NotFound(f"Nothing with the id {event_id} happened between the two.", code="event_not_found")
        bond = await hold_bond(db, scope)
        await db.execute(delete(BondEvent).where(BondEvent.id == event_id))
        if bond is not None:
            await replay_bond(db, bond, rules_of(CharacterFields.model_validate(character.document)))
        await db.flush()
        return await _show(db, scope, character)


@router.post("/{slug}/simulate")
async def try_out(slug: str, body: Simulation, caller: CallerDep, services: ServicesDep, user: User = "") -> Simulated:
    """What a conversation and events would do to the bond."""
    async with services.db.read() as db:
        character, scope = await _find(db, caller, slug, user)
        fields = CharacterFields.model_validate(character.document)
        bond = await read_bond(db, scope, rules_of(fields))
    return await simulate(services, fields, bond.standing, body)


async def _find(db: AsyncSession, caller: Caller, slug: str, user: str) -> tuple[Character, Scope]:
    character = await find(db, caller, slug)
    return character, Scope(caller.owner, user, character.id)


async def _show(db: AsyncSession, scope: Scope, character: Character) -> BondOut:
    bond = await read_bond(db, scope, rules_of(CharacterFields.model_validate(character.document)))
    return BondOut(character=character.slug, user=scope.user, **show(bond.standing).model_dump())


def _event(row: BondEvent) -> EventOut:
    return EventOut.model_validate(row, from_attributes=True)


def _step(dated: Dated, **standing: object) -> HistoryStep:
    event = dated.event
    return HistoryStep.model_validate(
        {
            "at": dated.at,
            "kind": event.kind if event else "said",
            "name": event.name if event else "",
            "message_id": dated.message_id,
            "event_id": event.id if event else None,
            **standing,
        }
    )
