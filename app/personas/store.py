"""Where personas are kept, and which one a turn is had as."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller
from app.characters.store import find
from app.errors import BadRequest, Conflict, NotFound
from app.personas.schemas import PersonaFields
from app.sessions.store import Scope
from app.tables import Persona, now
from models.frame import FRAMES
from models.scene import Language


@dataclass(frozen=True, slots=True)
class Who:
    """Who the user is: what `{{user}}` stands for, and what the character is told."""

    name: str
    text: str = ""


async def who(db: AsyncSession, scope: Scope, wanted: str | None) -> Who | None:
    """The persona of this name, or without one the default, that for the character first; None where there is none.

    An empty name is nobody's. Raises `BadRequest` when the user has none of this name.
    """
    if wanted == "":
        return None
    fits = or_(Persona.character_id.is_(None), Persona.character_id == scope.character_id)
    query = select(Persona).where(Persona.owner == scope.owner, Persona.user == scope.user, fits)
    # Those for the character sort last, and the last one is taken.
    rows = list(await db.scalars(query.order_by(Persona.character_id.is_not(None), Persona.name)))
    found = [row for row in rows if (row.is_default if wanted is None else row.name == wanted)]
    if found:
        return Who(found[-1].name, found[-1].text)
    if wanted is None:
        return None
    names = ", ".join(repr(row.name) for row in rows) or "none"
    raise BadRequest(f"The user {scope.user!r} has no persona {wanted!r}; there is {names}.", param="moodline.persona")


def user_name(persona: Who | None, user: str, language: Language) -> str:
    """What `{{user}}` stands for: the persona's name, else what the client calls its user, else a word for anyone."""
    return persona.name if persona else user or FRAMES[language].user


async def find_persona(db: AsyncSession, caller: Caller, persona_id: str, *, lock: bool = False) -> Persona:
    """A persona of one of the caller's users; raises `NotFound` for any other, saying no more."""
    query = select(Persona).where(Persona.id == persona_id, Persona.owner == caller.owner)
    row = await db.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"You have no persona {persona_id!r}. GET /api/personas?user=… lists a user's.")
    return row


async def write(db: AsyncSession, caller: Caller, row: Persona, fields: PersonaFields) -> None:
    """Give a persona these fields; where it is the default, another one is that no longer.

    Raises:
        NotFound: no such character.
        Conflict: the user has another persona of this name.
    """
    character = await find(db, caller, fields.character) if fields.character is not None else None
    row.name, row.text, row.is_default = fields.name, fields.text, fields.default
    row.character_id = character.id if character else None
    row.updated_at = now()
    db.add(row)
    try:
        await db.flush()
    except IntegrityError:
        raise Conflict(f"{row.user!r} has a persona {row.name!r} already.", code="name_taken", param="name") from None
    if row.is_default:
        beside = (Persona.owner == row.owner, Persona.user == row.user, Persona.id != row.id, Persona.is_default)
        same = Persona.character_id.is_not_distinct_from(row.character_id)
        await db.execute(update(Persona).where(*beside, same).values(is_default=False, revision=Persona.revision + 1))
