"""/api/groups: several characters in one conversation, who is among them and how they take part."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.auth import CallerDep
from app.characters.store import delete as hide
from app.etag import IfMatch, etag
from app.groups import store
from app.groups.schemas import GroupCreate, GroupFields, GroupOut, GroupPage, MemberFields
from app.services import ServicesDep
from app.tables import Character

router = APIRouter(prefix="/api/groups", tags=["groups"])


@router.post("", status_code=201)
async def create(body: GroupCreate, caller: CallerDep, services: ServicesDep, response: Response) -> GroupOut:
    """Add a group; talk with it as the model `group/<slug>`."""
    async with services.db.write() as db:
        row = await store.create(db, caller, body)
        response.headers["Location"] = f"/api/groups/{body.slug}"
        response.headers["ETag"] = etag(row.revision)
        return await store.show(db, row)


@router.get("")
async def list_groups(
    caller: CallerDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=100)] = None,
) -> GroupPage:
    """The caller's groups, by slug."""
    query = store.visible(caller)
    if after:
        query = query.where(Character.slug > store.PREFIX + after)
    async with services.db.read() as db:
        rows = list(await db.scalars(query.order_by(Character.slug).limit(limit + 1)))
        items = [await store.show(db, row) for row in rows[:limit]]
    return GroupPage(items=items, next=items[-1].slug if len(rows) > limit else None)


@router.get("/{group}")
async def read(group: str, caller: CallerDep, services: ServicesDep, response: Response) -> GroupOut:
    """One group; its ETag is what a change must name."""
    async with services.db.read() as db:
        row = await store.find_group(db, caller, group)
        response.headers["ETag"] = etag(row.revision)
        return await store.show(db, row)


@router.put("/{group}")
async def change(
    group: str,
    body: GroupFields,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> GroupOut:
    """Replace a group's fields and members. Who is new hears what is said from now on, who is gone nothing more."""
    async with services.db.write() as db:
        row = await store.find_to_change(db, caller, group, if_match)
        await store.change(db, caller, row, body)
        response.headers["ETag"] = etag(row.revision)
        return await store.show(db, row)


@router.delete("/{group}", status_code=204)
async def delete(group: str, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Hide a group; `POST /api/groups/{group}/restore` brings it back.

    What its members remember of it stays until it goes for good (`MOODLINE_DELETED_DAYS`).
    """
    async with services.db.write() as db:
        hide(db, await store.find_to_change(db, caller, group, if_match))


@router.post("/{group}/restore")
async def restore(group: str, caller: CallerDep, services: ServicesDep, response: Response) -> GroupOut:
    """Undo the last delete of this slug."""
    async with services.db.write() as db:
        row = await store.restore(db, caller, group)
        response.headers["ETag"] = etag(row.revision)
        return await store.show(db, row)


@router.put("/{group}/members/{character}")
async def join(
    group: str,
    character: str,
    body: MemberFields,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> GroupOut:
    """Let a character in, or mute it and change how talkative it is; it knows nothing of what was said before."""
    async with services.db.write() as db:
        row = await store.find_to_change(db, caller, group, if_match)
        await store.join(db, caller, row, character, body)
        await db.flush()
        response.headers["ETag"] = etag(row.revision)
        return await store.show(db, row)


@router.delete("/{group}/members/{character}")
async def leave(
    group: str, character: str, caller: CallerDep, services: ServicesDep, response: Response, if_match: IfMatch = None
) -> GroupOut:
    """Let a member go; it hears nothing more and keeps what it heard."""
    async with services.db.write() as db:
        row = await store.find_to_change(db, caller, group, if_match)
        await store.leave(db, row, character)
        await db.flush()
        response.headers["ETag"] = etag(row.revision)
        return await store.show(db, row)
