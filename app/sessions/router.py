"""/api/sessions: begin, list, search, read, change, fork, delete and restore conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from app.auth import CallerDep
from app.etag import IfMatch, etag
from app.groups.store import find_party
from app.services import ServicesDep
from app.sessions import change
from app.sessions.find import find_message, find_own, hold_own, open_own, scope_of
from app.sessions.greeting import greetings
from app.sessions.schemas import ForkFrom, SessionChange, SessionCreate, SessionPage, SessionRead, SessionTree
from app.sessions.settle import settle
from app.sessions.show import read_session, read_tree, show_session
from app.sessions.store import Scope
from app.tables import Character, Message, Session, new_id, now

router = APIRouter(prefix="/api/sessions", tags=["sessions"])


@router.post("", status_code=201)
async def create(body: SessionCreate, caller: CallerDep, services: ServicesDep, response: Response) -> SessionRead:
    """Begin a conversation. Send its id as `X-Session-Id` with only the new message each time."""
    async with services.db.write() as db:
        character = await find_party(db, caller, body.character)
        scope = Scope(caller.owner, body.user, character.id)
        session = Session(id=new_id(), owner=scope.owner, user=scope.user, character_id=scope.character_id)
        db.add(session)
        await db.flush()
        parent: Message | None = None
        for row in await greetings(db, scope, session.id, character, body.greeting):
            db.add(row)
            parent = row
        session.leaf_id = parent.id if parent else None
        await db.flush()
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


@router.get("")
async def list_sessions(
    caller: CallerDep,
    services: ServicesDep,
    user: Annotated[str | None, Query(max_length=200)] = None,
    character: Annotated[str, Query(description="A slug.", max_length=100)] = "",
    q: Annotated[str, Query(description="Part of a title or of what was said.", max_length=200)] = "",
    deleted: Annotated[bool, Query(description="Those that are deleted.")] = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(description="`next` of the page before.", max_length=32)] = None,
) -> SessionPage:
    """The caller's conversations, the pinned and then the latest first."""
    gone = Session.deleted_at.is_not(None) if deleted else Session.deleted_at.is_(None)
    query = (
        select(Session, Character.slug, func.count(Message.id))
        .join(Character, Character.id == Session.character_id)
        .outerjoin(Message, and_(Message.session_id == Session.id, Message.deleted_at.is_(None)))
        .where(Session.owner == caller.owner, gone)
        .group_by(Session.id, Character.slug)
        .order_by(Session.pinned.desc(), Session.updated_at.desc(), Session.id)
        .limit(limit + 1)
    )
    if user is not None:
        query = query.where(Session.user == user)
    if q:
        query = query.where(_says(q))
    async with services.db.read() as db:
        if character:
            query = query.where(Session.character_id == (await find_party(db, caller, character)).id)
        if before:
            last, _character = await find_own(db, caller, before, deleted=deleted)
            query = query.where(_after(last))
        rows = list(await db.execute(query))
    items = [show_session(session, slug, count) for session, slug, count in rows[:limit]]
    return SessionPage(items=items, next=items[-1].id if len(rows) > limit else None)


@router.get("/{session_id}")
async def read(session_id: str, caller: CallerDep, services: ServicesDep, response: Response) -> SessionRead:
    """A conversation with the messages of its current branch; its ETag is what a change must name."""
    async with services.db.read() as db:
        session, character = await find_own(db, caller, session_id)
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


@router.get("/{session_id}/tree")
async def read_all(
    session_id: str,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    deleted: Annotated[bool, Query(description="Deleted messages too.")] = False,
) -> SessionTree:
    """A conversation with the messages of all its branches."""
    async with services.db.read() as db:
        session, character = await find_own(db, caller, session_id)
        response.headers["ETag"] = etag(session.revision)
        return await read_tree(db, session, character, deleted=deleted)


@router.patch("/{session_id}")
async def change_session(
    session_id: str,
    body: SessionChange,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> SessionRead:
    """Rename or pin a conversation, or write its author's note."""
    async with services.db.write() as db:
        session, character = await open_own(db, caller, session_id, if_match)
        for field, value in body.model_dump(exclude_none=True).items():
            setattr(session, field, value)
        await db.flush()
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


@router.post("/{session_id}/fork", status_code=201)
async def fork(
    session_id: str, body: ForkFrom, caller: CallerDep, services: ServicesDep, response: Response
) -> SessionRead:
    """Go on from a message in a new conversation; this one stays. What both hold counts once."""
    async with services.db.write() as db:
        session, character = await hold_own(db, caller, session_id)
        if body.message_id is not None:
            await find_message(db, session, body.message_id)
        forked = await change.fork(db, session, body.message_id or session.leaf_id)
        response.headers["Location"] = f"/api/sessions/{forked.id}"
        response.headers["ETag"] = etag(forked.revision)
        return await read_session(db, forked, character)


@router.delete("/{session_id}", status_code=204)
async def delete(session_id: str, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Hide a conversation: what was said in it isn't recalled and does not count. `…/restore` brings it all back."""
    async with services.db.write() as db:
        session, _character = await open_own(db, caller, session_id, if_match)
        session.deleted_at = now()
        await settle(db, scope_of(session), session)


@router.post("/{session_id}/restore")
async def restore(session_id: str, caller: CallerDep, services: ServicesDep, response: Response) -> SessionRead:
    """Undo the delete of a conversation; it counts as it did."""
    async with services.db.write() as db:
        session, character = await open_own(db, caller, session_id, "*", deleted=True)
        session.deleted_at = None
        await settle(db, scope_of(session), session)
        response.headers["ETag"] = etag(session.revision)
        return await read_session(db, session, character)


def _says(q: str) -> ColumnElement[bool]:
    said = Message.text.icontains(q, autoescape=True)
    in_talk = exists().where(Message.session_id == Session.id, Message.deleted_at.is_(None), said)
    return or_(Session.title.icontains(q, autoescape=True), in_talk.correlate(Session))


def _after(last: Session) -> ColumnElement[bool]:
    """What comes after a session in the list."""
    older = or_(Session.updated_at < last.updated_at, and_(Session.updated_at == last.updated_at, Session.id > last.id))
    later = and_(Session.pinned == last.pinned, older)
    return or_(later, ~Session.pinned) if last.pinned else later
