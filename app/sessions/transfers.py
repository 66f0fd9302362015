"""/api/sessions/import and /api/sessions/{id}/export: conversations as files."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response

from app.auth import CallerDep
from app.errors import Unprocessable
from app.etag import etag
from app.groups.store import find_party
from app.services import ServicesDep
from app.sessions import archive, sillytavern
from app.sessions.archive import Archive, ArchiveError
from app.sessions.find import find_own, speakers
from app.sessions.schemas import SessionImported
from app.sessions.show import read_session
from app.sessions.store import Scope
from app.sessions.transfer import bring_in, take_out
from app.text import clean
from app.upload import read_upload, upload_body

router = APIRouter(prefix="/api/sessions", tags=["sessions"])
_FILE = upload_body(
    {
        "application/jsonl": '{"user_name": "Ana", "character_name": "Mara"}\n'
        '{"name": "Ana", "is_user": true, "mes": "Is it late?"}\n'
        '{"name": "Mara", "is_user": false, "mes": "It is early.", "swipes": ["It is.", "It is early."]}'
    }
)
_JSONL: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}, "description": "The file."}
}


@router.get("/{session_id}/export", response_class=Response, responses=_JSONL)
async def export(
    session_id: str,
    caller: CallerDep,
    services: ServicesDep,
    file_format: Annotated[
        Literal["jsonl", "sillytavern"],
        Query(alias="format", description="`jsonl` holds everything, `sillytavern` the current branch and its swipes."),
    ] = "jsonl",
) -> Response:
    """A conversation as a file that can be imported again, here or elsewhere."""
    async with services.db.read() as db:
        session, character = await find_own(db, caller, session_id)
        taken = await take_out(db, session, character)
        names = await speakers(db, session, character)
    lines = archive.write(taken) if file_format == "jsonl" else sillytavern.write(taken, names)
    name = f"{character.slug.replace('/', '-')}-{session.id}{'' if file_format == 'jsonl' else '.sillytavern'}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "ETag": etag(session.revision)}
    return Response(await run_sync("".join, lines), media_type="application/jsonl", headers=headers)


@router.post("/import", status_code=201, openapi_extra=_FILE)
async def import_session(
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    character: Annotated[
        str, Query(description="A slug, or `group/…`. Unset: the one that the file names.", max_length=100)
    ] = "",
    user: Annotated[
        str | None, Query(description="Whose conversation it is. Unset: whose the file names.", max_length=200)
    ] = None,
) -> SessionImported:
    """A conversation of a file, ours or SillyTavern's, all of it or none; it is remembered in the background."""
    _name, content = await read_upload(request, services.settings.max_upload_bytes)
    brought = await run_sync(partial(_read, content, services.settings.max_message_chars))
    slug = character or brought.character
    if not slug:
        raise Unprocessable("The file names no character of yours; say which by ?character=SLUG.", param="character")
    async with services.db.write() as db:
        row = await find_party(db, caller, slug)
        scope = Scope(caller.owner, (brought.user or "") if user is None else clean(user).strip(), row.id)
        session = await bring_in(db, scope, row, brought)
        shown = await read_session(db, session, row)
    services.wake.set()
    response.headers["Location"] = f"/api/sessions/{session.id}"
    response.headers["ETag"] = etag(session.revision)
    return SessionImported(**shown.model_dump(), left_out=brought.left_out)


def _read(content: bytes, longest: int) -> Archive:
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise Unprocessable(f"The file is not UTF-8 (byte {error.start}).", code="unreadable_file") from None
    if not lines[0].strip():
        raise Unprocessable("The file does not begin with a line of JSON.", code="unreadable_file")
    try:
        ours = '"moodline"' in lines[0]
        return archive.read(lines, longest) if ours else sillytavern.read(lines, longest)
    except ArchiveError as error:
        raise Unprocessable(str(error), code="unreadable_file") from None
