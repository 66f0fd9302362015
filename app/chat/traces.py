"""/api/turns/{id}/trace: why a turn was what it was."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from app.auth import CallerDep
from app.errors import NotFound
from app.services import ServicesDep
from app.tables import Trace

router = APIRouter(prefix="/api/turns", tags=["traces"])


@router.get("/{turn_id}/trace")
async def read(turn_id: str, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Every line, memory and lore entry that was considered with its scores and its fate, and the exact prompt.

    The turn's id is in the header `x-moodline-turn` of the reply, and on every message of a session.
    """
    async with services.db.read() as db:
        row = await db.scalar(select(Trace).where(Trace.id == turn_id, Trace.owner == caller.owner))
    if row is None:
        raise NotFound(f"You have no turn {turn_id!r}.")
    return {"id": row.id, "created_at": row.created_at.isoformat(), **row.document}
