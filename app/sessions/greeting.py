"""What a conversation begins with: the greeting of the character, or of each member of a group that has one."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.rules import rules_of
from app.bond.store import read_bond
from app.characters.clock import local
from app.characters.macros import Moment, fill
from app.characters.schemas import CharacterFields
from app.errors import Unprocessable
from app.groups.remember import mark
from app.groups.spoken import Spoken
from app.groups.store import GROUP, cast_of
from app.personas.store import user_name, who
from app.sessions.store import Scope, child
from app.tables import Character, Message, new_id, now
from models.scene import Message as Said


async def greetings(
    db: AsyncSession, scope: Scope, session_id: str, character: Character, number: int
) -> list[Message]:
    """The first messages of a new session, one below the other.

    Raises `Unprocessable` when the character has no greeting of this number; a member that has not says its first.
    """
    if character.kind == GROUP:
        return await _greetings_of_all(db, scope, session_id, character, number)
    greeting = await _greeting(db, scope, CharacterFields.model_validate(character.document), number)
    return [child(session_id, None, Said("assistant", greeting), None)] if greeting else []


async def _greetings_of_all(
    db: AsyncSession, scope: Scope, session_id: str, group: Character, number: int
) -> list[Message]:
    cast = await cast_of(db, group)
    rows: list[Message] = []
    for voice in cast.voices:
        fields = CharacterFields.model_validate((await db.get_one(Character, voice.id)).document)
        theirs = replace(scope, character_id=voice.id)
        greeting = await _greeting(db, theirs, fields, min(number, len(fields.alternate_greetings)))
        if greeting and not voice.muted:
            said = Spoken("assistant", greeting, voice.id)
            rows.append(child(session_id, rows[-1] if rows else None, said, None))
            mark(cast, rows[-1], said)
    return rows


async def _greeting(db: AsyncSession, scope: Scope, character: CharacterFields, number: int) -> str:
    bond = await read_bond(db, scope, rules_of(character))
    stage = character.stage_named(bond.standing.stage)
    first = (stage.greeting if stage else "") or character.greeting
    greetings = [first, *character.alternate_greetings]
    if number >= len(greetings):
        has = f"{len(greetings)} greetings; choose 0 to {len(greetings) - 1}" if any(greetings) else "no greeting"
        raise Unprocessable(f"{character.name} has {has}.", param="greeting")
    user = user_name(await who(db, scope, None), scope.user, character.language)
    # A greeting is written down as it was said; another new conversation may be greeted otherwise.
    once = new_id()
    moment = Moment(character.called, user, character.language, chat=once, turn=once, now=local(now()))
    return fill(greetings[number], moment, f"greeting {number}")
