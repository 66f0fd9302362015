"""/api/lorebooks: run world info."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from app.auth import CallerDep
from app.lore.posted import read_script
from app.lore.replay import replay
from app.lore.schemas import Activate, Activated

router = APIRouter(prefix="/api/lorebooks", tags=["lorebooks"])


@router.post("/activate")
async def try_out(body: Activate, caller: CallerDep) -> Activated:
    """Run world info that is posted, call by call; nothing is stored, and nothing that is stored is read."""
    return Activated(results=await asyncio.to_thread(replay, read_script(body)))
