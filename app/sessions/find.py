"""Whose conversation it is, and how it is opened for a change."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller
from app.bond.store import lock_bond
from app.characters.schemas import CharacterFields
from app.errors import NotFound
from app.etag import check_revision
from app.personas.store import user_name, who
from app.sessions.settle import parties
from app.sessions.store import Scope
from app.tables import Character, Message, Session


async def find_own(
    db: AsyncSession, caller: Caller, session_id: str, *, deleted: bool = False
) -> tuple[Session, Character]:
    """A session of the caller's and its character; raises `NotFound` for any other, saying no more."""
    gone = Session.deleted_at.is_not(None) if deleted else Session.deleted_at.is_(None)
    query = (
        select(Session, Character)
        .join(Character, Character.id == Session.character_id)
        .where(Session.id == session_id, Session.owner == caller.owner, gone)
    )
    row = (await db.execute(query.execution_options(populate_existing=True))).first()
    if row is None:
        kind, listed = ("deleted session", "?deleted=true") if deleted else ("session", "")
        raise NotFound(
            f"You have no {kind} {session_id!r}. GET /api/sessions{listed} lists yours.", code="session_not_found"
        )
    return row[0], row[1]


async def hold_own(
    db: AsyncSession, caller: Caller, session_id: str, *, deleted: bool = False
) -> tuple[Session, Character]:
    """A session of the caller's as it stands once its bond is locked; raises `NotFound` as `find_own`."""
    session, _character = await find_own(db, caller, session_id, deleted=deleted)
    for one in await parties(db, session):
        await lock_bond(db, replace(scope_of(session), character_id=one))
    # A turn, another change or an erasure may have been under way until now.
    return await find_own(db, caller, session_id, deleted=deleted)


async def open_own(
    db: AsyncSession, caller: Caller, session_id: str, if_match: str | None, *, deleted: bool = False
) -> tuple[Session, Character]:
    """A session of the caller's to be changed, at the revision it names; its bond is locked, its revision raised.

    Raises:
        NotFound: see `find_own`.
        RevisionMissing, StaleRevision: see `check_revision`.
    """
    session, character = await hold_own(db, caller, session_id, deleted=deleted)
    check_revision(f"The session {session_id!r}", session.revision, if_match)
    session.revision += 1
    return session, character


async def find_message(db: AsyncSession, session: Session, message_id: str, *, deleted: bool = False) -> Message:
    """A message of a session; raises `NotFound` for any other, saying no more."""
    gone = Message.deleted_at.is_not(None) if deleted else Message.deleted_at.is_(None)
    query = select(Message).where(Message.id == message_id, Message.session_id == session.id, gone)
    message = await db.scalar(query.execution_options(populate_existing=True))
    if message is None:
        kind = "deleted message" if deleted else "message"
        raise NotFound(
            f"The session has no {kind} {message_id!r}. GET /api/sessions/{session.id}/tree lists its messages.",
            code="message_not_found",
        )
    return message


def scope_of(session: Session) -> Scope:
    """Whose conversation it is."""
    return Scope(session.owner, session.user, session.character_id)


async def speakers(
    db: AsyncSession, session: Session, character: Character, persona: str | None = None
) -> tuple[str, str]:
    """What the two who talk are called: the user, as `persona` or by default, and the character.

    Raises:
        BadRequest: the user has no such persona.
    """
    fields = CharacterFields.model_validate(character.document)
    found = await who(db, scope_of(session), persona)
    return user_name(found, session.user, fields.language), fields.called
