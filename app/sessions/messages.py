"""/api/sessions/{id}/messages and /leaf: branches are chosen, messages edited, deleted, restored and pinned."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import or_, update

from app.auth import CallerDep
from app.errors import Conflict, Unprocessable
from app.etag import IfMatch, etag
from app.services import ServicesDep
from app.sessions import change
from app.sessions.find import find_message, find_own, open_own
from app.sessions.schemas import MessageChange, MessageId, MessageOut, Pin, SessionRead
from app.sessions.show import read_message, read_session
from app.sessions.store import original
from app.tables import Memory

router = APIRouter(prefix="/api/sessions/{session_id}", tags=["messages"])


@router.put("/leaf")
async def choose(
    session_id: str,
    body: MessageId,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> SessionRead:
    """Swipe: let the current branch go through a message, to the newest end below it."""
    async with services.db.write() as db:
        session, character = await open_own(db, caller, session_id, if_match)
        message = await find_message(db, session, body.message_id)
        await change.choose(db, session, message.id)
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


@router.get("/messages/{message_id}")
async def read(
    session_id: str, message_id: str, caller: CallerDep, services: ServicesDep, response: Response
) -> MessageOut:
    """One message of any branch."""
    async with services.db.read() as db:
        session, _character = await find_own(db, caller, session_id)
        response.headers["ETag"] = etag(session.revision)
        return await read_message(db, session, await find_message(db, session, message_id))


@router.patch("/messages/{message_id}")
async def edit(
    session_id: str,
    message_id: str,
    body: MessageChange,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> SessionRead:
    """Give a message another text: a new version beside it becomes current, and the old one stays."""
    longest = services.settings.max_message_chars
    if len(body.text) > longest:
        raise Unprocessable(
            f"The text has {len(body.text):,} characters; the limit is {longest:,} (MOODLINE_MAX_MESSAGE_CHARS).",
            code="message_too_long",
            param="text",
        )
    async with services.db.write() as db:
        session, character = await open_own(db, caller, session_id, if_match)
        message = await find_message(db, session, message_id)
        await change.edit(db, session, character, message, body.text, keep=body.following == "keep")
        response.headers["ETag"] = etag(session.revision)
        shown = await read_session(db, session, character)
    services.wake.set()
    return shown


@router.delete("/messages/{message_id}")
async def delete(
    session_id: str,
    message_id: str,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> SessionRead:
    """Hide a message with everything below it. `…/restore` brings it back."""
    async with services.db.write() as db:
        session, character = await open_own(db, caller, session_id, if_match)
        await change.delete(db, session, await find_message(db, session, message_id))
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


@router.post("/messages/{message_id}/restore")
async def restore(
    session_id: str, message_id: str, caller: CallerDep, services: ServicesDep, response: Response
) -> SessionRead:
    """Bring back a deleted message, with what was deleted with it, and make it current."""
    async with services.db.write() as db:
        session, character = await open_own(db, caller, session_id, "*")
        await change.restore(db, session, await find_message(db, session, message_id, deleted=True))
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


@router.put("/messages/{message_id}/pin")
async def pin(
    session_id: str, message_id: str, body: Pin, caller: CallerDep, services: ServicesDep, response: Response
) -> MessageOut:
    """Pin what is remembered of a message's exchange: it is recalled always, once it left the window."""
    async with services.db.write() as db:
        session, _character = await open_own(db, caller, session_id, "*")
        message = await find_message(db, session, message_id)
        known = original(message)
        mine = (Memory.owner == session.owner, or_(Memory.message_id == known, Memory.reply_id == known))
        changed = await db.scalars(update(Memory).where(*mine).values(pinned=body.pinned).returning(Memory.id))
        if not list(changed):
            raise Conflict("Nothing is remembered of this message: it has no answer, or was forgotten.")
        response.headers["ETag"] = etag(session.revision)
        return await read_message(db, session, message)
