"""/api/sessions: begin, list, read and delete conversations."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller, CallerDep
from app.bond.affinity import stage_of
from app.bond.store import lock_bond, read_bond
from app.characters.macros import fill_names
from app.characters.schemas import CharacterFields
from app.characters.store import find
from app.errors import NotFound, Unprocessable
from app.services import ServicesDep
from app.sessions.schemas import MessageOut, SessionCreate, SessionOut, SessionPage, SessionRead
from app.sessions.settle import settle
from app.sessions.store import Scope, child, read_branch
from app.tables import Character, Message, Session, new_id, now
from models.frame import FRAMES
from models.scene import Message as Said

router = APIRouter(prefix="/api/sessions", tags=["sessions"])


@router.post("", status_code=201)
async def create(body: SessionCreate, caller: CallerDep, services: ServicesDep) -> SessionRead:
    """Begin a conversation. Send its id as `X-Session-Id` with only the new message each time."""
    async with services.db.write() as db:
        character = await find(db, caller, body.character)
        scope = Scope(caller.owner, body.user, character.id)
        session = Session(id=new_id(), owner=scope.owner, user=scope.user, character_id=scope.character_id)
        db.add(session)
        await db.flush()
        greeting = await _greeting(db, scope, CharacterFields.model_validate(character.document), body.greeting)
        if greeting:
            root = child(session.id, None, Said("assistant", greeting), None)
            db.add(root)
            session.leaf_id = root.id
        await db.flush()
        return await _read(db, session, character.slug)


@router.get("")
async def list_sessions(
    caller: CallerDep,
    services: ServicesDep,
    user: Annotated[str | None, Query(max_length=200)] = None,
    character: Annotated[str, Query(description="A slug.", max_length=100)] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(description="`next` of the page before.", max_length=32)] = None,
) -> SessionPage:
    """The caller's conversations, the latest first."""
    query = (
        select(Session, Character.slug, func.count(Message.id))
        .join(Character, Character.id == Session.character_id)
        .outerjoin(Message, Message.session_id == Session.id)
        .where(Session.owner == caller.owner, Session.deleted_at.is_(None))
        .group_by(Session.id, Character.slug)
        .order_by(Session.updated_at.desc(), Session.id)
        .limit(limit + 1)
    )
    if user is not None:
        query = query.where(Session.user == user)
    async with services.db.read() as db:
        if character:
            query = query.where(Session.character_id == (await find(db, caller, character)).id)
        if before:
            last = await _find(db, caller, before)
            query = query.where(
                (Session.updated_at < last[0].updated_at)
                | ((Session.updated_at == last[0].updated_at) & (Session.id > last[0].id))
            )
        rows = list(await db.execute(query))
    items = [_show(session, slug, count) for session, slug, count in rows[:limit]]
    return SessionPage(items=items, next=items[-1].id if len(rows) > limit else None)


@router.get("/{session_id}")
async def read(session_id: str, caller: CallerDep, services: ServicesDep) -> SessionRead:
    """A conversation with the messages of its current branch."""
    async with services.db.read() as db:
        session, slug = await _find(db, caller, session_id)
        return await _read(db, session, slug)


@router.delete("/{session_id}", status_code=204)
async def delete(session_id: str, caller: CallerDep, services: ServicesDep) -> None:
    """Hide a conversation; what was said in it is not recalled any more and does not count for the bond."""
    async with services.db.write() as db:
        session, _slug = await _find(db, caller, session_id)
        scope = Scope(session.owner, session.user, session.character_id)
        await lock_bond(db, scope)
        session.deleted_at = now()
        await settle(db, scope, session)


async def _find(db: AsyncSession, caller: Caller, session_id: str) -> tuple[Session, str]:
    query = (
        select(Session, Character.slug)
        .join(Character, Character.id == Session.character_id)
        .where(Session.id == session_id, Session.owner == caller.owner, Session.deleted_at.is_(None))
    )
    row = (await db.execute(query)).first()
    if row is None:
        raise NotFound(f"You have no session {session_id!r}. GET /api/sessions lists yours.", code="session_not_found")
    return row[0], row[1]


async def _greeting(db: AsyncSession, scope: Scope, character: CharacterFields, number: int) -> str:
    bond = await read_bond(db, scope)
    stage = stage_of(bond.affinity, character.stages, bond.stage)
    first = (stage.greeting if stage else "") or character.greeting
    greetings = [first, *character.alternate_greetings]
    if number >= len(greetings):
        has = f"{len(greetings)} greetings; choose 0 to {len(greetings) - 1}" if any(greetings) else "no greeting"
        raise Unprocessable(f"{character.name} has {has}.", param="greeting")
    user = scope.user or FRAMES[character.language].user
    return fill_names(greetings[number], character.name, user)


async def _read(db: AsyncSession, session: Session, slug: str) -> SessionRead:
    branch = await read_branch(db, session.leaf_id) if session.leaf_id else []
    parents = [row.parent_id for row in branch]
    versions: dict[str | None, list[str]] = defaultdict(list)
    rows = await db.execute(
        select(Message.id, Message.parent_id)
        .where(Message.session_id == session.id, Message.parent_id.in_([p for p in parents if p]))
        .order_by(Message.created_at)
    )
    for message_id, parent_id in rows:
        versions[parent_id].append(message_id)
    count = await db.scalar(select(func.count()).where(Message.session_id == session.id)) or 0
    return SessionRead(
        **_show(session, slug, count).model_dump(), branch=[_message(row, versions[row.parent_id]) for row in branch]
    )


def _message(row: Message, versions: list[str]) -> MessageOut:
    return MessageOut(
        id=row.id,
        parent_id=row.parent_id,
        role=row.role,
        text=row.text,
        outcome=row.outcome,
        turn_id=row.turn_id,
        siblings=[other for other in versions if other != row.id],
        created_at=row.created_at,
    )


def _show(session: Session, slug: str, messages: int) -> SessionOut:
    return SessionOut(
        id=session.id,
        character=slug,
        user=session.user,
        title=session.title,
        messages=messages,
        created_at=session.created_at,
        updated_at=session.updated_at,
    )
