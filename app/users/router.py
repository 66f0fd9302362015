"""/api/users: who there is, all that is kept of one, and forgetting one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from app.auth import CallerDep
from app.services import ServicesDep
from app.users.erase import erase
from app.users.export import export
from app.users.schemas import Erased, UserPage
from app.users.store import find_user, list_users

router = APIRouter(prefix="/api/users", tags=["users"])
# No part of the path: a name may be empty or hold a slash.
User = Annotated[str, Query(description="As the app sends it; empty for those without a name.", max_length=200)]


@router.get("")
async def list_all(
    caller: CallerDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
) -> UserPage:
    """Everyone who has talked with a character through the caller's keys."""
    async with services.db.read() as db:
        items = await list_users(db, caller.owner, limit=limit + 1, after=after)
    return UserPage(items=items[:limit], next=items[limit - 1].user if len(items) > limit else None)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "Lines of JSON, see `kind`."}},
)
async def read_all(user: User, caller: CallerDep, services: ServicesDep) -> StreamingResponse:
    """All that is kept of a user: characters, bonds, memories, conversations with all their branches, traces.

    One JSON object a line; the last is `{"kind": "end", "counts": …}`, without which the file was cut off.
    """
    async with services.db.read() as db:
        await find_user(db, caller.owner, user)
    lines = export(services.db, caller.owner, user)
    headers = {"Content-Disposition": 'attachment; filename="user.jsonl"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)


@router.delete("")
async def remove(user: User, caller: CallerDep, services: ServicesDep, response: Response) -> Erased:
    """Forget a user for good: conversations, memories, bonds, traces. There is no way back.

    A second time it is a 404: nothing is kept any more. Backups that were made before still hold it.
    """
    async with services.db.read() as db:
        await find_user(db, caller.owner, user)
    # It names the user.
    response.headers["Cache-Control"] = "no-store"
    return Erased(user=user, removed=await erase(services, caller.owner, user))
