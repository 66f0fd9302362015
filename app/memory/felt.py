"""How messages felt that came without a turn of ours: heard in the background, and counted by the bond from then on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.rules import rules_of
from app.bond.store import hold_bond, replay_bond
from app.characters.schemas import CharacterFields
from app.memory.formation import importance
from app.services import Services
from app.sessions.store import Scope, original
from app.tables import Character, Floats, Memory, Message


async def feel_unfelt(services: Services, memories: Sequence[Memory]) -> None:
    """Hear, store and count how the user's messages of these exchanges felt, where that isn't known."""
    originals = {memory.message_id for memory in memories if memory.message_id}
    async with services.db.read() as db:
        texts = {original(row): row.text for row in await db.scalars(select(Message).where(_unfelt(originals)))}
    if not texts:
        return
    # As a turn hears what was said.
    vectors = await services.embedding.queries(list(texts.values()))
    felt = dict(zip(texts, await services.embedding.feel(list(texts.values()), vectors), strict=True))
    by_scope: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for memory in memories:
        if memory.message_id in felt:
            by_scope[memory.owner, memory.user, memory.character_id].add(memory.message_id)
    for names, mine in sorted(by_scope.items()):
        async with services.db.write() as db:
            await _count(db, Scope(*names), [(name, texts[name], felt[name]) for name in sorted(mine)])


async def _count(db: AsyncSession, scope: Scope, heard: list[tuple[str, str, Floats]]) -> None:
    bond = await hold_bond(db, scope)
    if bond is None:
        return  # the user was erased meanwhile
    for name, text, emotion in heard:
        await db.execute(update(Message).where(_unfelt({name})).values(emotion=emotion))
        # Unless a person has said meanwhile how much it matters.
        unweighed = Memory.importance == importance(text, np.zeros_like(emotion))
        weighed = update(Memory).where(Memory.message_id == name, unweighed)
        await db.execute(weighed.values(importance=importance(text, emotion)))
    character = await db.get_one(Character, scope.character_id)
    await replay_bond(db, bond, rules_of(CharacterFields.model_validate(character.document)))


def _unfelt(originals: Collection[str]) -> ColumnElement[bool]:
    known = or_(Message.id.in_(originals), Message.origin_id.in_(originals))
    return and_(known, Message.role == "user", Message.emotion.is_(None))
