"""Resolve: what the database knows about this character, this user and this conversation. One read transaction."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.rules import rules_of
from app.bond.store import BondState, bond_on, read_bond
from app.characters.schemas import CharacterFields, Stage
from app.characters.store import find
from app.chat.ask import Ask, Known
from app.errors import BadRequest, NotFound
from app.groups.cast import Cast
from app.groups.hearing import heard_by
from app.lore.books import books_of
from app.lore.entry import DEPTH
from app.lore.kept import read_timers_of
from app.personas.store import Who, user_name, who
from app.services import Services
from app.sessions.locate import locate, place_below
from app.sessions.store import Place, Scope
from app.sessions.told import Opening
from app.tables import Character, Line, Memory, Session
from retrieval.cache import Stamp


async def resolve(services: Services, ask: Ask) -> Known:
    """The start of a turn; raises `NotFound` when the character or the session is not the caller's."""
    encoder = services.recipe
    async with services.db.read() as db:
        row = await find(db, ask.caller, ask.slug) if ask.cast is None else await _member(db, ask.cast)
        scope = Scope(ask.caller.owner, ask.user, row.id)
        talk = replace(scope, character_id=ask.cast.id) if ask.cast else scope
        character = _in_company(CharacterFields.model_validate(row.document), ask.cast)
        persona = await who(db, scope, ask.persona)
        place = ask.place or await _place(db, scope, ask, character, persona)
        heard = await heard_by(db, place, ask.cast, character.language) if ask.cast else place
        session = await db.get(Session, place.session_id) if place.session_id else None
        elsewhere = session is not None and _is_elsewhere(session, place, ask.cast)
        bond = await _bond(db, scope, place, character, elsewhere)
        return Known(
            scope=scope,
            talk=talk,
            character=character,
            revision=row.revision,
            place=place,
            heard=heard,
            elsewhere=elsewhere,
            note=session.note if session else "",
            note_depth=session.note_depth if session else DEPTH,
            bond=bond,
            stage=_stage(ask, bond, character),
            who=persona,
            lorebooks=await books_of(db, services.lore, scope.owner, scope.user, row),
            lore_timers=await read_timers_of(db, _own(heard) if ask.cast else place.ids),
            last_at=session.updated_at if session else None,
            lines=await _line_stamp(db, row, encoder),
            memories=await _memory_stamp(db, scope, bond.memory_revision, encoder),
        )


async def _place(db: AsyncSession, scope: Scope, ask: Ask, character: CharacterFields, persona: Who | None) -> Place:
    if ask.below and ask.session_id:
        return await place_below(db, ask.below, ask.messages, ask.session_id)
    return await locate(db, scope, ask.messages, ask.session_id, _opening(ask, character, persona))


def _opening(ask: Ask, character: CharacterFields, persona: Who | None) -> Opening:
    user = user_name(persona, ask.user, character.language)
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


def _is_elsewhere(session: Session, place: Place, cast: Cast | None) -> bool:
    """Whether the turn goes on from anything but the end of its session's current branch.

    A message that has no answer yet is answered there; in a group so is one that has.
    """
    return session.leaf_id != place.parent_id or (cast is None and place.stored == len(place.history))


async def _member(db: AsyncSession, cast: Cast) -> Character:
    """The member that speaks; raises `NotFound` for one that is gone since."""
    row = await db.get(Character, cast.speaker)
    if row is None or row.deleted_at is not None:
        raise NotFound(f"{cast.name_of(cast.speaker)} is not there any more.", code="character_not_found")
    return row


def _in_company(character: CharacterFields, cast: Cast | None) -> CharacterFields:
    """A character where the group is."""
    scenario = cast.scenario if cast else ""
    return character.model_copy(update={"scenario": scenario}) if scenario.strip() else character


def _own(heard: Place) -> list[str | None]:
    """The ids of what the character itself said: timers of lore are each member's own."""
    return [id_ for message, id_ in zip(heard.history, heard.ids, strict=True) if message.role == "assistant"]


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
