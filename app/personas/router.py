"""/api/personas: who users are when they talk with characters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import CallerDep
from app.etag import IfMatch, check_revision, etag
from app.personas.schemas import PersonaFields, PersonaOut, PersonaPage
from app.personas.store import find_persona, write
from app.services import ServicesDep
from app.tables import Character, Persona

router = APIRouter(prefix="/api/personas", tags=["personas"])
User = Annotated[str, Query(max_length=200)]


@router.get("")
async def list_personas(
    caller: CallerDep,
    services: ServicesDep,
    user: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=32)] = None,
) -> PersonaPage:
    """The personas of the caller's users, or of one, by name."""
    query = select(Persona).where(Persona.owner == caller.owner)
    if user is not None:
        query = query.where(Persona.user == user)
    async with services.db.read() as db:
        if after is not None:
            last = await find_persona(db, caller, after)
            query = query.where(tuple_(Persona.name, Persona.id) > tuple_(literal(last.name), literal(last.id)))
        rows = list(await db.scalars(query.order_by(Persona.name, Persona.id).limit(limit + 1)))
        items = [await _show(db, row) for row in rows[:limit]]
    return PersonaPage(items=items, next=items[-1].id if len(rows) > limit else None)


@router.post("", status_code=201)
async def create(
    body: PersonaFields, caller: CallerDep, services: ServicesDep, response: Response, user: User = ""
) -> PersonaOut:
    """Add a persona of a user."""
    async with services.db.write() as db:
        row = Persona(owner=caller.owner, user=user, revision=1)
        await write(db, caller, row, body)
        response.headers["Location"] = f"/api/personas/{row.id}"
        response.headers["ETag"] = etag(row.revision)
        return await _show(db, row)


@router.get("/{persona_id}")
async def read(persona_id: str, caller: CallerDep, services: ServicesDep, response: Response) -> PersonaOut:
    """One persona."""
    async with services.db.read() as db:
        row = await find_persona(db, caller, persona_id)
        response.headers["ETag"] = etag(row.revision)
        return await _show(db, row)


@router.put("/{persona_id}")
async def change(
    persona_id: str,
    body: PersonaFields,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> PersonaOut:
    """Replace a persona; it holds from the next turn on."""
    async with services.db.write() as db:
        row = await find_persona(db, caller, persona_id, lock=True)
        check_revision(f"The persona {row.name!r}", row.revision, if_match)
        row.revision += 1
        await write(db, caller, row, body)
        response.headers["ETag"] = etag(row.revision)
        return await _show(db, row)


@router.delete("/{persona_id}", status_code=204)
async def delete(persona_id: str, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Take a persona away; what was said as it stays."""
    async with services.db.write() as db:
        row = await find_persona(db, caller, persona_id, lock=True)
        check_revision(f"The persona {row.name!r}", row.revision, if_match)
        await db.delete(row)


async def _show(db: AsyncSession, row: Persona) -> PersonaOut:
    character = await db.get(Character, row.character_id) if row.character_id else None
    return PersonaOut(
        id=row.id,
        user=row.user,
        name=row.name,
        text=row.text,
        character=character.slug if character else None,
        default=row.is_default,
        revision=row.revision,
        updated_at=row.updated_at,
    )
