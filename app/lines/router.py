"""/api/characters/{slug}/lines: upload past lines, watch them being embedded, list and remove them."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import CallerDep
from app.characters.store import allow_change, find
from app.errors import NotFound, Unprocessable
from app.lines.parse import ParseError, parse
from app.lines.store import add
from app.services import Services, ServicesDep
from app.tables import LARGEST_ID, Character, Line, LineImport
from app.text import clean
from app.upload import read_upload, upload_body

router = APIRouter(prefix="/api/characters/{slug}/lines", tags=["lines"])


class ImportOut(BaseModel):
    """How an upload goes. `embedded` grows to `units`; lines can be recalled as soon as they are embedded."""

    id: str
    status: Literal["embedding", "done"]
    filename: str
    turns: int = Field(description="Spoken turns in the file.")
    units: int = Field(description="New dialogue units stored.")
    duplicates: int = Field(description="Units that were here already.")
    embedded: int
    created_at: datetime


class LineOut(BaseModel):
    """One unit of past dialogue; the last turns are the character's."""

    id: int
    dialogue: list[tuple[str, str]]
    label: str | None
    embedded: bool


class LinePage(BaseModel):
    """One page of lines; pass `next` as `after`."""

    items: list[LineOut]
    next: int | None


_UPLOAD = upload_body(
    {
        "application/jsonl": '{"role": "Visitor", "content": "Is it late?"}\n'
        '{"role": "Mara", "content": "It is early."}',
        "text/csv": "speaker,text,scene\nVisitor,Is it late?,1",
        "text/plain": "访客：现在很晚了吗？\n晚晴：天都快亮了。",
    }
)


@router.post("", status_code=202, openapi_extra=_UPLOAD)
async def upload(
    slug: str,
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    role: Annotated[str, Query(description="Whose lines to take. Unset: the character's name.", max_length=100)] = "",
    file_format: Annotated[Literal["auto", "jsonl", "csv", "script"], Query(alias="format")] = "auto",
    encoding: Annotated[str, Query(description="Of the file, e.g. gb18030.", max_length=40)] = "utf-8",
) -> ImportOut:
    """Store a file of past lines, all or nothing; embedding goes on in the background, see `Location`."""
    filename, content = await read_upload(request, services.settings.max_upload_bytes)
    try:
        chosen = None if file_format == "auto" else file_format
        # A large file takes seconds; other requests must not wait for it.
        dialogues = await run_sync(partial(parse, content, filename=filename, file_format=chosen, encoding=encoding))
    except ParseError as error:
        raise Unprocessable(str(error), code="unreadable_lines") from None
    async with services.db.write() as db:
        character = await find(db, caller, slug, lock=True)
        allow_change(caller, character)
        record = await add(db, character, dialogues, clean(role) or character.document["name"], filename)
        out = await _report(db, record, services)
    services.wake.set()
    response.headers["Location"] = f"/api/characters/{slug}/lines/imports/{record.id}"
    return out


@router.get("/imports/{import_id}")
async def read_import(slug: str, import_id: str, caller: CallerDep, services: ServicesDep) -> ImportOut:
    """Progress of an upload."""
    async with services.db.read() as db:
        character = await find(db, caller, slug)
        return await _report(db, await _import_of(db, character, import_id), services)


@router.get("")
async def list_lines(
    slug: str,
    caller: CallerDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
) -> LinePage:
    """The character's past lines, oldest first."""
    async with services.db.read() as db:
        character = await find(db, caller, slug)
        query = select(Line).where(Line.character_id == character.id, Line.id > after).order_by(Line.id)
        rows = list(await db.scalars(query.limit(limit + 1)))
    items = [
        LineOut(
            id=row.id,
            dialogue=[(speaker, text) for speaker, text in row.dialogue],
            label=row.label,
            embedded=row.encoder is not None,
        )
        for row in rows[:limit]
    ]
    return LinePage(items=items, next=items[-1].id if len(rows) > limit else None)


@router.delete("/{line_id}", status_code=204)
async def delete_line(
    slug: str, line_id: Annotated[int, Path(ge=0, le=LARGEST_ID)], caller: CallerDep, services: ServicesDep
) -> None:
    """Remove one unit."""
    async with services.db.write() as db:
        character = await _changing(db, caller, slug)
        line = await db.get(Line, line_id)
        if line is None or line.character_id != character.id:
            raise NotFound(f"{slug!r} has no line {line_id}.")
        await db.delete(line)


@router.delete("", status_code=204)
async def delete_lines(
    slug: str,
    caller: CallerDep,
    services: ServicesDep,
    import_id: Annotated[str, Query(description="Remove only what this upload added.", max_length=32)] = "",
) -> None:
    """Remove the lines of one upload, or all."""
    async with services.db.write() as db:
        character = await _changing(db, caller, slug)
        if import_id:
            await _import_of(db, character, import_id)
        which = [Line.import_id == import_id] if import_id else []
        await db.execute(sql_delete(Line).where(Line.character_id == character.id, *which))


async def _import_of(db: AsyncSession, character: Character, import_id: str) -> LineImport:
    record = await db.get(LineImport, import_id)
    if record is None or record.character_id != character.id:
        raise NotFound(f"{character.slug!r} has no import {import_id!r}.")
    return record


async def _changing(db: AsyncSession, caller: CallerDep, slug: str) -> Character:
    character = await find(db, caller, slug, lock=True)
    allow_change(caller, character)
    character.lines_revision += 1
    return character


async def _report(db: AsyncSession, record: LineImport, services: Services) -> ImportOut:
    mine = select(func.count()).where(Line.import_id == record.id)
    embedded = await db.scalar(mine.where(Line.encoder.is_not(None))) or 0
    left = (await db.scalar(mine) or 0) - embedded
    return ImportOut(
        id=record.id,
        status="embedding" if left else "done",
        filename=record.filename,
        turns=record.turns,
        units=record.units,
        duplicates=record.duplicates,
        embedded=embedded,
        created_at=record.created_at,
    )
