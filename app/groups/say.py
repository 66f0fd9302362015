"""What the user says in a group without an answer: stored and heard by all who are there."""

from __future__ import annotations

from app.errors import NotFound
from app.groups.remember import lock_bonds_of, mark
from app.groups.round import Round
from app.services import Services
from app.sessions.settle import settle
from app.sessions.store import Scope, append
from app.tables import Session, new_id, now


async def keep_said(services: Services, begun: Round) -> str:
    """Store the user's message at the place of a round and make it current; returns its id.

    Raises `NotFound` where the session was erased meanwhile.
    """
    ask, place, cast = begun.ask, begun.place, begun.cast
    talk = Scope(ask.caller.owner, ask.user, cast.id)
    async with services.db.write() as db:
        await lock_bonds_of(db, talk, cast.present)
        session = await db.get(Session, place.session_id)
        if session is None:
            raise NotFound("This conversation was erased meanwhile.", code="session_not_found")
        rows = await append(db, place, session.id, new_id())
        for row, message in zip(rows, place.history[place.stored :], strict=True):
            row.turn_id = None
            mark(cast, row, message)
        await db.flush()
        session.title = session.title or " ".join(rows[-1].text.split())[:60]
        session.leaf_id, session.updated_at = rows[-1].id, now()
        session.revision += 1
        await settle(db, talk, session)
        return rows[-1].id
