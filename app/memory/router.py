"""/api/memories: see, pin, edit and forget what characters remember."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller, CallerDep
from app.characters.store import find
from app.errors import NotFound
from app.memory.formation import memory_terms
from app.memory.schemas import MemoryChange, MemoryOut, MemoryPage, show
from app.memory.store import current_text, outdated
from app.services import ServicesDep
from app.tables import LARGEST_ID, Bond, Character, Memory
from retrieval.context import in_context

router = APIRouter(prefix="/api/memories", tags=["memories"])
MemoryId = Annotated[int, Path(ge=0, le=LARGEST_ID)]


@router.get("")
async def list_memories(
    caller: CallerDep,
    services: ServicesDep,
    user: Annotated[str | None, Query(max_length=200)] = None,
    character: Annotated[str, Query(description="A slug.", max_length=100)] = "",
    pinned: bool | None = None,
    retired: Annotated[bool, Query(description="Those that rest, because no current branch holds them.")] = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=0, le=LARGEST_ID)] = None,
) -> MemoryPage:
    """The caller's memories, newest first."""
    query = select(Memory, Character.slug).join(Character, Character.id == Memory.character_id)
    query = (
        query.where(Memory.owner == caller.owner, Memory.retired == retired).order_by(Memory.id.desc()).limit(limit + 1)
    )
    if user is not None:
        query = query.where(Memory.user == user)
    if pinned is not None:
        query = query.where(Memory.pinned == pinned)
    if before is not None:
        query = query.where(Memory.id < before)
    async with services.db.read() as db:
        if character:
            query = query.where(Memory.character_id == (await find(db, caller, character)).id)
        rows = list(await db.execute(query))
    items = [show(memory, slug) for memory, slug in rows[:limit]]
    return MemoryPage(items=items, next=items[-1].id if len(rows) > limit else None)


@router.patch("/{memory_id}")
async def change(memory_id: MemoryId, body: MemoryChange, caller: CallerDep, services: ServicesDep) -> MemoryOut:
    """Pin, weigh or rewrite a memory; a new text is embedded before the answer comes."""
    fresh, before = None, ""
    if body.text is not None:
        async with services.db.read() as db:
            memory, _slug = await _find(db, caller, memory_id)
            earlier = await db.get(Memory, memory.previous_id) if memory.previous_id else None
            before = earlier.text if earlier else ""
        told = in_context(body.text, before, memory.created_at)
        vectors = await services.embedding.passages([body.text, told])
        fresh = (*vectors, (await services.embedding.feel([body.text], vectors[:1]))[0])
    async with services.db.write() as db:
        memory, slug = await _find(db, caller, memory_id)
        if body.text is not None and fresh is not None:
            await _begin_change(db, memory)
            same = (await current_text(db, memory.previous_id) or "") == before
            memory.text, memory.encoder = body.text, services.recipe if same else outdated()
            memory.vector, memory.context, memory.emotion = fresh
            memory.tagger = services.embedding.tagger.id
            memory.terms = memory_terms(body.text, memory.created_at)
        if body.pinned is not None:
            memory.pinned = body.pinned
        if body.importance is not None:
            memory.importance = body.importance
        await db.flush()
        shown = show(memory, slug)
    services.wake.set()
    return shown


@router.delete("/{memory_id}", status_code=204)
async def forget(memory_id: MemoryId, caller: CallerDep, services: ServicesDep) -> None:
    """Forget one memory for good; the conversation it came from stays."""
    async with services.db.write() as db:
        memory, _slug = await _find(db, caller, memory_id)
        await _begin_change(db, memory)
        await db.delete(memory)
    services.wake.set()


async def _find(db: AsyncSession, caller: Caller, memory_id: int) -> tuple[Memory, str]:
    query = (
        select(Memory, Character.slug)
        .join(Character, Character.id == Memory.character_id)
        .where(Memory.id == memory_id, Memory.owner == caller.owner)
    )
    row = (await db.execute(query)).first()
    if row is None:
        raise NotFound(f"You have no memory {memory_id}. GET /api/memories lists yours.")
    return row[0], row[1]


async def _begin_change(db: AsyncSession, memory: Memory) -> None:
    """Tell every process that this user's and character's bank must be rebuilt, without what followed this memory.

    What followed holds the old text in its context; until the background has indexed it anew it is not recalled. The
    bond's row is locked first, as by a turn: one that follows this memory is stored before, or sees the change.
    """
    await db.execute(
        update(Bond)
        .where(Bond.owner == memory.owner, Bond.user == memory.user, Bond.character_id == memory.character_id)
        .values(memory_revision=Bond.memory_revision + 1)
    )
    # The background locks rows in the order of their ids.
    await db.execute(select(Memory.id).where(Memory.id == memory.id).with_for_update())
    await db.execute(update(Memory).where(Memory.previous_id == memory.id).values(encoder=outdated()))
