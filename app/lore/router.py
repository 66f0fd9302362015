"""/api/lorebooks: books for several characters, their entries, SillyTavern's files, and trying them out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.auth import CallerDep
from app.characters.schemas import LoreEntryIn
from app.etag import IfMatch, etag
from app.lore import store
from app.lore.books import entries_of
from app.lore.brought import read_file
from app.lore.native import write_entries
from app.lore.posted import read_script
from app.lore.replay import replay
from app.lore.schemas import (
    Activate,
    Activated,
    BookFile,
    Entries,
    LorebookCreate,
    LorebookEntryOut,
    LorebookOut,
    LorebookPage,
    LorebookPatch,
    LorebookPut,
    Order,
    Run,
)
from app.services import ServicesDep
from app.tables import Lorebook

router = APIRouter(prefix="/api/lorebooks", tags=["lorebooks"])


@router.post("", status_code=201)
async def create(body: LorebookCreate, caller: CallerDep, services: ServicesDep, response: Response) -> LorebookOut:
    """Add a lorebook. Turns of the characters and users that it is for read it from now on."""
    async with services.db.write() as db:
        return await _told(db, await store.create(db, caller, body), response)


@router.get("")
async def list_lorebooks(
    caller: CallerDep,
    services: ServicesDep,
    user: Annotated[str | None, Query(description="Only those that this user's turns read.", max_length=200)] = None,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> LorebookPage:
    """The caller's lorebooks and everyone's."""
    async with services.db.read() as db:
        rows = await store.page(db, caller, user, after, limit)
        items = await store.show(db, rows[:limit])
    return LorebookPage(items=items, next=items[-1].id if len(rows) > limit else None)


@router.post("/activate")
async def try_out(body: Activate, caller: CallerDep) -> Activated:
    """Run world info that is posted, call by call; nothing is stored, and nothing that is stored is read."""
    books = body.books if body.books is not None else [body.book] if body.book is not None else []
    return Activated(results=await asyncio.to_thread(replay, read_script(body, books)))


@router.post("/import", status_code=201)
async def import_book(
    body: BookFile,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    name: Annotated[str, Query(max_length=100)] = "",
    user: Annotated[str | None, Query(max_length=200)] = None,
    character: Annotated[str | None, Query(max_length=100)] = None,
) -> LorebookOut:
    """Add a lorebook of SillyTavern's world-info JSON or a `lorebook_v3`.

    Fields of world info that mean nothing here come out again as they were.
    """
    file = {name: value for name, value in body.model_dump().items() if value is not None}
    called, settings, entries = await asyncio.to_thread(read_file, file)
    fields = {"name": (name or called).strip()[:100] or "World info", "user": user, "character": character}
    made = LorebookCreate.model_validate({**fields, "settings": settings, "entries": entries})
    async with services.db.write() as db:
        return await _told(db, await store.create(db, caller, made), response)


@router.get("/{lorebook_id}")
async def read(lorebook_id: str, caller: CallerDep, services: ServicesDep, response: Response) -> LorebookOut:
    """One lorebook; its ETag is what a change must name."""
    async with services.db.read() as db:
        return await _told(db, await store.find(db, caller, lorebook_id), response)


@router.put("/{lorebook_id}")
async def replace(
    lorebook_id: str,
    body: LorebookPut,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> LorebookOut:
    """Replace a lorebook's fields, and its entries if there are any in the body."""
    async with services.db.write() as db:
        book = await store.find_to_change(db, caller, lorebook_id, if_match)
        await store.assign(db, caller, book, body)
        if body.entries is not None:
            await store.replace_entries(db, book, body.entries)
        return await _changed(db, book, response)


@router.patch("/{lorebook_id}")
async def change(
    lorebook_id: str,
    body: LorebookPatch,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> LorebookOut:
    """Change some fields of a lorebook."""
    async with services.db.write() as db:
        book = await store.find_to_change(db, caller, lorebook_id, if_match)
        for name, value in body.model_dump(exclude_none=True).items():
            setattr(book, name, value)
        return await _changed(db, book, response)


@router.delete("/{lorebook_id}", status_code=204)
async def delete(lorebook_id: str, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Take a lorebook away, with its entries."""
    async with services.db.write() as db:
        await db.delete(await store.find_to_change(db, caller, lorebook_id, if_match))


@router.get("/{lorebook_id}/export")
async def export(lorebook_id: str, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """A lorebook as SillyTavern's world-info JSON."""
    async with services.db.read() as db:
        book = await store.find(db, caller, lorebook_id)
        return {"name": book.name, **write_entries(await entries_of(db, book.id))}


@router.post("/{lorebook_id}/activate")
async def try_stored(lorebook_id: str, body: Run, caller: CallerDep, services: ServicesDep) -> Activated:
    """Run a stored lorebook over a posted chat; nothing is stored. The verdicts' uids are the entries' ids."""
    async with services.db.read() as db:
        book = await store.find(db, caller, lorebook_id)
        native = {"name": book.name, **write_entries(await entries_of(db, book.id))}
    return Activated(results=await asyncio.to_thread(replay, read_script(body, [native])))


@router.get("/{lorebook_id}/entries")
async def list_entries(lorebook_id: str, caller: CallerDep, services: ServicesDep) -> list[LorebookEntryOut]:
    """The entries of a lorebook in their order."""
    async with services.db.read() as db:
        book = await store.find(db, caller, lorebook_id)
        return [store.show_entry(row) for row in await store.rows_of(db, book)]


@router.post("/{lorebook_id}/entries", status_code=201)
async def add_entries(
    lorebook_id: str, body: Entries, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None
) -> list[LorebookEntryOut]:
    """Add entries at the end, one or many."""
    async with services.db.write() as db:
        book = await store.find_to_change(db, caller, lorebook_id, if_match)
        rows = await store.append_entries(db, book, body)
        store.revise(book)
        return [store.show_entry(row) for row in rows]


@router.put("/{lorebook_id}/order")
async def order_entries(
    lorebook_id: str, body: Order, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None
) -> list[LorebookEntryOut]:
    """Put the entries in another order: of equal `order`, the earlier one is told first."""
    async with services.db.write() as db:
        book = await store.find_to_change(db, caller, lorebook_id, if_match)
        await store.order_entries(db, book, body.ids)
        store.revise(book)
        await db.flush()
        return [store.show_entry(row) for row in await store.rows_of(db, book)]


@router.get("/{lorebook_id}/entries/{entry_id}")
async def read_entry(lorebook_id: str, entry_id: str, caller: CallerDep, services: ServicesDep) -> LorebookEntryOut:
    """One entry."""
    async with services.db.read() as db:
        book = await store.find(db, caller, lorebook_id)
        return store.show_entry(await store.find_entry(db, book, entry_id))


@router.put("/{lorebook_id}/entries/{entry_id}")
async def change_entry(
    lorebook_id: str,
    entry_id: str,
    body: LoreEntryIn,
    caller: CallerDep,
    services: ServicesDep,
    if_match: IfMatch = None,
) -> LorebookEntryOut:
    """Replace one entry."""
    async with services.db.write() as db:
        book = await store.find_to_change(db, caller, lorebook_id, if_match)
        row = await store.find_entry(db, book, entry_id)
        row.document = body.model_dump()
        store.revise(book)
        return store.show_entry(row)


@router.delete("/{lorebook_id}/entries/{entry_id}", status_code=204)
async def delete_entry(
    lorebook_id: str, entry_id: str, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None
) -> None:
    """Take one entry away."""
    async with services.db.write() as db:
        book = await store.find_to_change(db, caller, lorebook_id, if_match)
        await db.delete(await store.find_entry(db, book, entry_id))
        store.revise(book)


async def _changed(db: Any, book: Lorebook, response: Response) -> LorebookOut:
    store.revise(book)
    await db.flush()
    return await _told(db, book, response)


async def _told(db: Any, book: Lorebook, response: Response) -> LorebookOut:
    response.headers["ETag"] = etag(book.revision)
    return (await store.show(db, [book]))[0]
