"""Resolve: what the database knows about this character, this user and this conversation. One read transaction."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.affinity import stage_of
from app.bond.store import read_bond
from app.characters.schemas import CharacterFields
from app.characters.store import find, lore_of
from app.chat.ask import Ask, Known
from app.services import Services
from app.sessions.store import Scope, locate
from app.tables import Character, Line, Memory
from retrieval.cache import Stamp


async def resolve(services: Services, ask: Ask) -> Known:
    """The start of a turn; raises `NotFound` when the character or the session is not the caller's."""
    encoder = services.recipe
    async with services.db.read() as db:
        row = await find(db, ask.caller, ask.slug)
        scope = Scope(ask.caller.owner, ask.user, row.id)
        character = CharacterFields.model_validate(row.document)
        bond = await read_bond(db, scope)
        return Known(
            scope=scope,
            character=character,
            revision=row.revision,
            place=await locate(db, scope, ask.messages, ask.session_id),
            bond=bond,
            stage=stage_of(bond.affinity, character.stages, bond.stage),
            lorebook=await lore_of(db, row.id),
            lines=await _line_stamp(db, row, encoder),
            memories=await _memory_stamp(db, scope, bond.memory_revision, encoder),
        )


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
