"""Resolve: what the database knows about this character, this user and this conversation. One read transaction."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.rules import rules_of
from app.bond.store import BondState, bond_on, read_bond
from app.characters.schemas import CharacterFields, Stage
from app.characters.store import find
from app.chat.ask import Ask, Known
from app.errors import BadRequest
from app.lore.books import books_of
from app.lore.entry import DEPTH
from app.lore.kept import read_timers_of
from app.personas.store import Who, who
from app.services import Services
from app.sessions.locate import locate, place_below
from app.sessions.store import Place, Scope
from app.sessions.told import Opening
from app.tables import Character, Line, Memory, Session
from models.frame import FRAMES
from retrieval.cache import Stamp


async def resolve(services: Services, ask: Ask) -> Known:
    """The start of a turn; raises `NotFound` when the character or the session is not the caller's."""
    encoder = services.recipe
    async with services.db.read() as db:
        row = await find(db, ask.caller, ask.slug)
        scope = Scope(ask.caller.owner, ask.user, row.id)
        character = CharacterFields.model_validate(row.document)
        persona = await who(db, scope, ask.persona)
        place = await _place(db, scope, ask, character, persona)
        session = await db.get(Session, place.session_id) if place.session_id else None
        elsewhere = session is not None and _is_elsewhere(session, place)
        bond = await _bond(db, scope, place, character, elsewhere)
        return Known(
            scope=scope,
            character=character,
            revision=row.revision,
            place=place,
            elsewhere=elsewhere,
            note=session.note if session else "",
            note_depth=session.note_depth if session else DEPTH,
            bond=bond,
            stage=_stage(ask, bond, character),
            who=persona,
            lorebooks=await books_of(db, services.lore, scope.owner, scope.user, row),
            lore_timers=await read_timers_of(db, place.ids),
            last_at=session.updated_at if session else None,
            lines=await _line_stamp(db, row, encoder),
            memories=await _memory_stamp(db, scope, bond.memory_revision, encoder),
        )


async def _place(db: AsyncSession, scope: Scope, ask: Ask, character: CharacterFields, persona: Who | None) -> Place:
    if ask.below and ask.session_id:
        return await place_below(db, ask.below, ask.messages, ask.session_id)
    return await locate(db, scope, ask.messages, ask.session_id, _opening(ask, character, persona))


def _opening(ask: Ask, character: CharacterFields, persona: Who | None) -> Opening:
    user = persona.name if persona else ask.user or FRAMES[character.language].user
    stages = (stage.greeting for stage in character.stages)
    greetings = (character.greeting, *character.alternate_greetings, *stages)
    return Opening(character.called, user, tuple(filter(None, greetings)))


def _stage(ask: Ask, bond: BondState, character: CharacterFields) -> Stage | None:
    """The stage of the relationship, or the one that was asked for."""
    if ask.stage is None:
        return character.stage_named(bond.standing.stage)
    if not ask.stage:
        return None
    if stage := character.stage_named(ask.stage):
        return stage
    names = ", ".join(repr(stage.name) for stage in character.stages) or "none"
    raise BadRequest(f"{character.name} has no stage {ask.stage!r}; there is {names}.", param="moodline.stage")


def _is_elsewhere(session: Session, place: Place) -> bool:
    """Whether the turn goes on from anything but the end of its session's current branch."""
    return session.leaf_id != place.parent_id or place.stored == len(place.history)


async def _bond(db: AsyncSession, scope: Scope, place: Place, character: CharacterFields, elsewhere: bool) -> BondState:
    rules = rules_of(character)
    if not elsewhere or place.session_id is None:
        return await read_bond(db, scope, rules)
    return await bond_on(db, scope, place.session_id, place.parent_id, rules)


async def _line_stamp(db: AsyncSession, character: Character, encoder: str) -> Stamp:
    query = select(func.count(), func.coalesce(func.max(Line.id), 0))
    count, newest = (await db.execute(query.where(Line.character_id == character.id, Line.encoder == encoder))).one()
    return Stamp(count=count, max_id=newest, revision=character.lines_revision, encoder=encoder)


async def _memory_stamp(db: AsyncSession, scope: Scope, revision: int, encoder: str) -> Stamp:
    query = select(func.count(), func.coalesce(func.max(Memory.id), 0)).where(*in_scope(scope))
    count, newest = (await db.execute(query.where(Memory.encoder == encoder))).one()
    return Stamp(count=count, max_id=newest, revision=revision, encoder=encoder)


def in_scope(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    """The conditions for a memory to belong to this user and character."""
    return (Memory.owner == scope.owner, Memory.user == scope.user, Memory.character_id == scope.character_id)
