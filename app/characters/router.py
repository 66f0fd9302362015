"""/api/characters: create, read, change, delete, restore."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.adapters import check_there
from app.auth import CallerDep
from app.characters import store
from app.characters.schemas import CharacterCreate, CharacterFields, CharacterOut, CharacterPage, LoreEntryIn
from app.characters.staging import in_stages, renamed, with_stages
from app.etag import IfMatch, etag
from app.services import ServicesDep
from app.tables import SHARED, Character, LoreEntry

router = APIRouter(prefix="/api/characters", tags=["characters"])


@router.post("", status_code=201)
async def create(body: CharacterCreate, caller: CallerDep, services: ServicesDep, response: Response) -> CharacterOut:
    """Add a character; talk with it as the model `char/<slug>`."""
    if body.adapter:
        check_there(services, body.adapter)
    async with services.db.write() as db:
        character = await store.create(db, caller, with_stages(body))
        out = await show(db, character)
    response.headers["Location"] = f"/api/characters/{character.slug}"
    response.headers["ETag"] = etag(character.revision)
    return out


@router.get("")
async def list_characters(
    caller: CallerDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=100)] = None,
    q: Annotated[str, Query(description="Part of a slug.", max_length=100)] = "",
) -> CharacterPage:
    """The caller's characters and the shared ones, by slug."""
    query = store.visible(caller)
    if after:
        query = query.where(Character.slug > after)
    if q:
        query = query.where(Character.slug.contains(q, autoescape=True))
    async with services.db.read() as db:
        rows = list(await db.scalars(query.order_by(Character.slug, Character.owner).limit(limit + 1)))
        items = await _show_all(db, rows[:limit])
    return CharacterPage(items=items, next=items[-1].slug if len(rows) > limit else None)


@router.get("/{slug}")
async def read(slug: str, caller: CallerDep, services: ServicesDep, response: Response) -> CharacterOut:
    """One character; its ETag is what a change must name."""
    async with services.db.read() as db:
        character = await store.find(db, caller, slug)
        response.headers["ETag"] = etag(character.revision)
        return await show(db, character)


@router.put("/{slug}")
async def change(
    slug: str,
    body: CharacterFields,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> CharacterOut:
    """Replace a character's fields; lines, lore and memories stay. Lore follows a stage that is called otherwise."""
    if body.adapter:
        check_there(services, body.adapter)
    async with services.db.write() as db:
        character = await store.find_to_change(db, caller, slug, if_match)
        before = CharacterFields.model_validate(character.document).stages
        await store.rename_stages(db, character, renamed(before, body.stages))
        store.replace(db, character, body)
        response.headers["ETag"] = etag(character.revision)
        return await show(db, character)


@router.delete("/{slug}", status_code=204)
async def delete(slug: str, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Hide a character. `POST /api/characters/{slug}/restore` brings it back with everything it had."""
    async with services.db.write() as db:
        store.delete(db, await store.find_to_change(db, caller, slug, if_match))


@router.post("/{slug}/restore")
async def restore(slug: str, caller: CallerDep, services: ServicesDep, response: Response) -> CharacterOut:
    """Undo the last delete of this slug."""
    async with services.db.write() as db:
        character = await store.restore(db, caller, slug)
        response.headers["ETag"] = etag(character.revision)
        return await show(db, character)


@router.get("/{slug}/lore")
async def read_lore(slug: str, caller: CallerDep, services: ServicesDep) -> list[LoreEntryIn]:
    """The character's lorebook."""
    async with services.db.read() as db:
        character = await store.find(db, caller, slug)
        rows = await db.scalars(
            select(LoreEntry).where(LoreEntry.character_id == character.id).order_by(LoreEntry.place, LoreEntry.id)
        )
        return [LoreEntryIn.model_validate(row.document) for row in rows]


@router.put("/{slug}/lore")
async def change_lore(
    slug: str,
    body: list[LoreEntryIn],
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> list[LoreEntryIn]:
    """Replace the character's lorebook."""
    async with services.db.write() as db:
        character = await store.find_to_change(db, caller, slug, if_match)
        await db.execute(sql_delete(LoreEntry).where(LoreEntry.character_id == character.id))
        lore = in_stages(body, CharacterFields.model_validate(character.document).stages)
        store.replace_lore(db, character, lore)
        store.revise(db, character)
        response.headers["ETag"] = etag(character.revision)
    return lore


async def show(db: AsyncSession, character: Character) -> CharacterOut:
    """A character as the routes tell of it."""
    return (await _show_all(db, [character]))[0]


async def _show_all(db: AsyncSession, characters: list[Character]) -> list[CharacterOut]:
    ids = [character.id for character in characters]
    lines, lore = await store.line_counts(db, ids), await store.lore_counts(db, ids)
    return [
        CharacterOut(
            **character.document,
            slug=character.slug,
            shared=character.owner == SHARED,
            revision=character.revision,
            lines=lines.get(character.id, 0),
            lore_entries=lore.get(character.id, 0),
            created_at=character.created_at,
            updated_at=character.updated_at,
        )
        for character in characters
    ]
