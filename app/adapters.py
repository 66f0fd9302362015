"""/api/adapters: what characters can speak with, beside the language model that all share. For admins."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import select
from starlette.datastructures import UploadFile

from app.auth import Caller, CallerDep
from app.errors import BadRequest, Conflict, Forbidden, NotFound, Unprocessable
from app.services import Services, ServicesDep
from app.tables import Character
from app.upload import MOST_FIELDS
from models.adapter import CONFIG, WEIGHTS, AdapterRefused
from models.engine import ADAPTER
from models.stored import NAME_PATTERN, AdapterMissing, StoredAdapter, check_kept, drop, keep, kept

router = APIRouter(prefix="/api/adapters", tags=["adapters"])
FILES = {"config": CONFIG, "weights": WEIGHTS}


class AdapterOut(BaseModel):
    """A LoRA adapter that is kept here; a character's field `adapter` takes its `name`."""

    name: str
    base: str = Field(description="What it calls the language model that it was trained on.")
    rank: int
    bytes: int
    added_at: datetime


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "config": {"type": "string", "format": "binary", "description": "adapter_config.json"},
                        "weights": {"type": "string", "format": "binary", "description": "adapter_model.safetensors"},
                    },
                    "required": ["config", "weights"],
                }
            }
        },
    }
}


@router.get("")
async def list_adapters(caller: CallerDep, services: ServicesDep) -> list[AdapterOut]:
    """Those that are kept, by name."""
    _check_admin(caller)
    return [_show(adapter) for adapter in await run_sync(kept, services.settings.adapters)]


@router.post("", status_code=201, openapi_extra=_UPLOAD)
async def add(
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    role: Annotated[
        str, Query(description="The first part of its name; the second is made of its weights.", max_length=63)
    ],
) -> AdapterOut:
    """Keep a LoRA adapter as PEFT saves it, its two files in a form. The same one again is the same name."""
    _check_admin(caller)
    with tempfile.TemporaryDirectory(prefix="moodline-adapter-") as folder:
        await _receive(request, Path(folder))
        try:
            adapter = await run_sync(partial(keep, Path(folder), services.settings.adapters, role))
        except AdapterRefused as error:
            raise Unprocessable(str(error).replace(f"{folder}/", ""), code="adapter_refused") from None
    return _show(adapter)


@router.delete("", status_code=204)
async def remove(
    caller: CallerDep,
    services: ServicesDep,
    adapter: Annotated[str, Query(description="Its name.", pattern=NAME_PATTERN)],
) -> None:
    """Take one away, from the engine too. Refused while a character speaks with it."""
    _check_admin(caller)
    await take_away(services, adapter)
    if ADAPTER in services.engine.abilities:
        await services.engine.drop_adapter(adapter)


async def take_away(services: Services, name: str) -> None:
    """Remove a kept adapter; raises `NotFound`, or `Conflict` while a character speaks with it."""
    check_there(services, name)
    async with services.db.read() as db:
        spoken = Character.document["adapter"].as_string() == name
        slug = await db.scalar(select(Character.slug).where(Character.deleted_at.is_(None), spoken).limit(1))
    if slug:
        raise Conflict(f"{slug!r} speaks with {name}. Give it another adapter first.", code="adapter_in_use")
    await run_sync(drop, services.settings.adapters, name)


def check_there(services: Services, name: str) -> None:
    """Raise `NotFound` unless this adapter is kept here."""
    try:
        check_kept(services.settings.adapters, name)
    except AdapterMissing as error:
        raise NotFound(str(error), code="adapter_not_found", param="adapter") from None


async def _receive(request: Request, folder: Path) -> None:
    """The form's two files, written into `folder` under the names that PEFT gives them."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadRequest("Send a multipart form with the files `config` and `weights`.", param="config")
    async with request.form(max_files=2, max_fields=MOST_FIELDS) as form:
        for field, name in FILES.items():
            file = form.get(field)
            if not isinstance(file, UploadFile):
                raise BadRequest(f"Send the adapter's {name} in the form field `{field}`.", param=field)
            with (folder / name).open("wb") as target:
                await run_sync(shutil.copyfileobj, file.file, target)


def _check_admin(caller: Caller) -> None:
    if not caller.admin:
        raise Forbidden("Adapters are the server's own; this needs an admin key (`moodline keys create NAME --admin`).")


def _show(adapter: StoredAdapter) -> AdapterOut:
    return AdapterOut(
        name=adapter.name, base=adapter.base, rank=adapter.rank, bytes=adapter.size, added_at=adapter.added
    )
