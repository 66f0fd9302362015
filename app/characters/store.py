"""Where characters are found, and how they change. Groups are rows of the same table, see `app.groups.store`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Select, and_, case, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller
from app.characters.schemas import CharacterCreate, CharacterFields, LoreEntryIn
from app.errors import Conflict, Forbidden, NotFound
from app.etag import check_revision
from app.tables import SHARED, Character, CharacterRevision, Line, LoreEntry, now

CHARACTER = "character"
"""The kind of a row that is a single character."""


def visible(caller: Caller) -> Select[Character]:
    """The caller's characters, and the shared ones that none of the caller's hides by having the same slug."""
    own = select(Character.slug).where(Character.owner == caller.owner, Character.deleted_at.is_(None))
    return select(Character).where(
        Character.kind == CHARACTER,
        Character.deleted_at.is_(None),
        or_(Character.owner == caller.owner, and_(Character.owner == SHARED, Character.slug.not_in(own))),
    )


async def find(db: AsyncSession, caller: Caller, slug: str, *, lock: bool = False) -> Character:
    """The caller's character of this slug, else the shared one; raises `NotFound`."""
    query = (
        select(Character)
        .where(Character.owner.in_([caller.owner, SHARED]), Character.slug == slug)
        .where(Character.kind == CHARACTER, Character.deleted_at.is_(None))
        .order_by(case((Character.owner == SHARED, 1), else_=0))
        .limit(1)
    )
    found: Character | None = await db.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"There is no character {slug!r}. GET /api/characters lists those you can talk with.",
            code="character_not_found",
        )
    return found


async def find_to_change(db: AsyncSession, caller: Caller, slug: str, if_match: str | None) -> Character:
    """A character the caller may change, at the revision it names.

    Raises:
        NotFound, Forbidden: it isn't there, or is shared and the caller no admin.
        RevisionMissing, StaleRevision: `If-Match` is absent, or someone else was faster.
    """
    character = await find(db, caller, slug, lock=True)
    allow_change(caller, character)
    check_revision(repr(slug), character.revision, if_match)
    return character


def allow_change(caller: Caller, character: Character) -> None:
    """Raise `Forbidden` unless the caller may change this character."""
    if character.owner == SHARED and not caller.admin:
        raise Forbidden(f"{character.slug!r} is shared by everyone on this server; changing it needs an admin key.")


async def create(db: AsyncSession, caller: Caller, body: CharacterCreate) -> Character:
    """Add a character with its lore; raises `Conflict` when the slug is taken."""
    if body.shared and not caller.admin:
        raise Forbidden("Shared characters need an admin key (`moodline keys create NAME --admin`).")
    owner = SHARED if body.shared else caller.owner
    document = body.model_dump(exclude={"slug", "shared", "lore"})
    character = Character(owner=owner, slug=body.slug, live_slug=live_slug(owner, body.slug), document=document)
    db.add(character)
    try:
        await db.flush()
    except IntegrityError:
        raise Conflict(
            f"You already have a character {body.slug!r}. Choose another slug, or change it with PUT.",
            code="slug_taken",
            param="slug",
        ) from None
    db.add(CharacterRevision(character_id=character.id, revision=1, document=document))
    replace_lore(db, character, body.lore)
    return character


def replace(db: AsyncSession, character: Character, fields: CharacterFields) -> None:
    """Give a character other fields."""
    character.document = fields.model_dump()
    revise(db, character)


def revise(db: AsyncSession, character: Character) -> None:
    """Count a change and keep what the character is after it."""
    character.revision += 1
    character.updated_at = now()
    db.add(CharacterRevision(character_id=character.id, revision=character.revision, document=character.document))


def delete(db: AsyncSession, character: Character) -> None:
    """Hide a character; its conversations stay until it is restored or purged, and its slug is free again."""
    character.deleted_at = now()
    character.live_slug = None
    revise(db, character)


async def restore(db: AsyncSession, caller: Caller, slug: str, kind: str = CHARACTER) -> Character:
    """Bring back what is of this kind and slug, may be changed by the caller and was deleted last.

    Raises:
        NotFound: there is none.
        Conflict: the slug is in use again.
    """
    owners = [caller.owner, SHARED] if caller.admin else [caller.owner]
    query = (
        select(Character)
        .where(Character.owner.in_(owners), Character.slug == slug)
        .where(Character.kind == kind, Character.deleted_at.is_not(None))
        .order_by(Character.deleted_at.desc())
        .limit(1)
    )
    character: Character | None = await db.scalar(query)
    if character is None:
        raise NotFound(f"You have no deleted {kind} {slug!r}.", code=f"{kind}_not_found")
    character.deleted_at, character.live_slug = None, live_slug(character.owner, slug)
    revise(db, character)
    try:
        await db.flush()
    except IntegrityError:
        raise Conflict(f"{slug!r} is in use again by another {kind}; rename or delete that one first.") from None
    return character


def replace_lore(db: AsyncSession, character: Character, entries: list[LoreEntryIn]) -> None:
    """Add lore entries in their order; the caller has removed earlier ones."""
    for place, entry in enumerate(entries):
        db.add(LoreEntry(character_id=character.id, place=place, document=entry.model_dump()))


async def rename_stages(db: AsyncSession, character: Character, names: Mapping[str, str]) -> None:
    """Let the character's lore speak at stages by their new `names`, which are by the old ones."""
    if not names:
        return
    for row in await db.scalars(select(LoreEntry).where(LoreEntry.character_id == character.id)):
        stages = row.document.get("stages") or []
        if not names.keys().isdisjoint(stages):
            row.document = {**row.document, "stages": [names.get(stage, stage) for stage in stages]}


async def line_counts(db: AsyncSession, ids: list[str]) -> dict[str, int]:
    """Units of past dialogue per character."""
    rows = await db.execute(
        select(Line.character_id, func.count()).where(Line.character_id.in_(ids)).group_by(Line.character_id)
    )
    return {row[0]: row[1] for row in rows}


async def lore_counts(db: AsyncSession, ids: list[str]) -> dict[str, int]:
    """Lore entries per character."""
    rows = await db.execute(
        select(LoreEntry.character_id, func.count())
        .where(LoreEntry.character_id.in_(ids))
        .group_by(LoreEntry.character_id)
    )
    return {row[0]: row[1] for row in rows}


def live_slug(owner: str, slug: str) -> str:
    """The unique name of a character that is not deleted."""
    return f"{owner}/{slug}"
