"""Cards into the database and out of it: the character, its lore, and the file as it came."""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from app.auth import Caller
from app.characters import store
from app.characters.card import Card
from app.characters.fields import body_of, data_of, empty_data
from app.characters.reading import Json
from app.characters.schemas import CharacterFields, LoreEntryIn
from app.characters.slugs import free_slug, slug_of
from app.tables import SHARED, Character, CharacterCard, LoreEntry
from app.text import clean


async def bring_in(
    db: AsyncSession,
    caller: Caller,
    card: Card,
    original: bytes,
    *,
    filename: str = "",
    slug: str = "",
    shared: bool = False,
) -> Character:
    """A new character of a card, under `slug` or, when that is empty, under its name's with a number if it is taken.

    Raises:
        CardError: a text or a list is longer than a character's may be.
        Conflict, Forbidden: `slug` is taken; `shared` without an admin's key.
    """
    chosen = slug or await _free(db, SHARED if shared else caller.owner, slug_of(card.data["name"]))
    body = body_of(card.data, chosen, card.report).model_copy(update={"shared": shared})
    character = await store.create(db, caller, body)
    db.add(
        CharacterCard(
            character_id=character.id,
            filename=clean(filename)[:255],
            carrier=card.carrier,
            form=card.form,
            original=original,
            digest=hashlib.sha256(original).hexdigest(),
            data=card.data,
            outer=card.outer,
        )
    )
    await db.flush()
    return character


async def card_of(db: AsyncSession, character: Character) -> CharacterCard | None:
    """The card that a character came with, its file included."""
    query = select(CharacterCard).where(CharacterCard.character_id == character.id)
    return await db.scalar(query.options(undefer(CharacterCard.original)))


async def take_out(db: AsyncSession, character: Character, card: CharacterCard | None) -> Json:
    """The data of a character's card as it is now."""
    fields = CharacterFields.model_validate(character.document)
    query = select(LoreEntry.document).where(LoreEntry.character_id == character.id)
    rows = await db.scalars(query.order_by(LoreEntry.place, LoreEntry.id))
    lore = [LoreEntryIn.model_validate(row).model_dump() for row in rows]
    made, changed = int(character.created_at.timestamp()), int(character.updated_at.timestamp())
    if card is None:
        return {**data_of(fields, lore, empty_data(fields.name)), "creation_date": made, "modification_date": changed}
    data = data_of(fields, lore, card.data)
    # A file that nobody has changed says of itself what it said when it came.
    return data if data == card.data else {**data, "modification_date": changed}


async def _free(db: AsyncSession, owner: str, slug: str) -> str:
    begins = store.live_slug(owner, slug)
    query = select(Character.slug).where(Character.live_slug.startswith(begins, autoescape=True))
    return free_slug(slug, set(await db.scalars(query)))
