"""Where groups are found, and how they change. A group is a row in `characters` of its own kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller
from app.characters.schemas import CharacterFields
from app.characters.store import find, live_slug, revise
from app.characters.store import restore as bring_back
from app.errors import Conflict, NotFound, Unprocessable
from app.etag import check_revision
from app.groups.cast import Cast
from app.groups.order import TALKATIVENESS, Voice
from app.groups.schemas import MOST_MEMBERS, GroupCreate, GroupFields, GroupOut, MemberFields, MemberIn, MemberOut
from app.tables import Character, CharacterCard, CharacterRevision, Group, GroupMember

GROUP = "group"
"""The kind of a row that is a group."""
PREFIX = "group/"
"""Of a group's slug where characters have theirs too: no character's has a slash."""


def visible(caller: Caller) -> Select[Character]:
    """The caller's groups."""
    return select(Character).where(
        Character.owner == caller.owner, Character.kind == GROUP, Character.deleted_at.is_(None)
    )


async def find_group(db: AsyncSession, caller: Caller, slug: str, *, lock: bool = False) -> Character:
    """The caller's group of this slug; raises `NotFound`."""
    query = visible(caller).where(Character.slug == PREFIX + slug)
    found: Character | None = await db.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(f"You have no group {slug!r}. GET /api/groups lists yours.", code="group_not_found")
    return found


async def find_party(db: AsyncSession, caller: Caller, slug: str) -> Character:
    """Whom a user talks with: the character of this slug, or the group of one that begins with `group/`."""
    if slug.startswith(PREFIX):
        return await find_group(db, caller, slug.removeprefix(PREFIX))
    return await find(db, caller, slug)


async def find_to_change(db: AsyncSession, caller: Caller, slug: str, if_match: str | None) -> Character:
    """A group of the caller's at the revision it names; raises as `characters.store.find_to_change` does."""
    row = await find_group(db, caller, slug, lock=True)
    check_revision(repr(slug), row.revision, if_match)
    return row


async def create(db: AsyncSession, caller: Caller, body: GroupCreate) -> Character:
    """Add a group; raises `Conflict` when the slug is taken, `NotFound` for a member that isn't there."""
    slug = PREFIX + body.slug
    row = Character(owner=caller.owner, slug=slug, kind=GROUP, live_slug=live_slug(caller.owner, slug), document={})
    _write(row, body)
    db.add(row)
    try:
        await db.flush()
    except IntegrityError:
        raise Conflict(
            f"You already have a group {body.slug!r}. Choose another slug, or change it with PUT.",
            code="slug_taken",
            param="slug",
        ) from None
    db.add(CharacterRevision(character_id=row.id, revision=1, document=row.document))
    db.add(Group(id=row.id, turn_order=body.order, again=body.again))
    await db.flush()
    await _replace_members(db, caller, row, body.members)
    return row


async def change(db: AsyncSession, caller: Caller, row: Character, body: GroupFields) -> None:
    """Give a group other fields and other members; who stays has heard what it has heard."""
    _write(row, body)
    group = await db.get_one(Group, row.id)
    group.turn_order, group.again = body.order, body.again
    await _replace_members(db, caller, row, body.members)
    revise(db, row)


async def restore(db: AsyncSession, caller: Caller, slug: str) -> Character:
    """Bring back the group of this slug that was deleted last; raises `NotFound` or `Conflict`."""
    return await bring_back(db, caller, PREFIX + slug, GROUP)


async def join(db: AsyncSession, caller: Caller, row: Character, slug: str, fields: MemberFields) -> None:
    """Let a character in, last in the order, or change how it takes part. It hears what is said from now on.

    Raises:
        NotFound: no such character.
        Unprocessable: the group is full.
    """
    character = await find(db, caller, slug)
    member = await db.get(GroupMember, (row.id, character.id))
    if member is None:
        last, count = (await db.execute(_places(row.id))).one()
        if count >= MOST_MEMBERS:
            raise Unprocessable(f"A group has at most {MOST_MEMBERS} members.", code="group_full")
        member = await _member(db, row, character, last + 1)
        db.add(member)
    _take_part(member, fields)
    revise(db, row)


async def leave(db: AsyncSession, row: Character, slug: str) -> None:
    """Let a member go; it keeps what it heard. Raises `NotFound` for one that is none."""
    here = {character.slug: member for member, character in await members_of(db, row.id, deleted=True)}
    if slug not in here:
        raise NotFound(f"{slug!r} is not in this group.", code="member_not_found")
    await db.delete(here[slug])
    revise(db, row)


async def members_of(
    db: AsyncSession, group_id: str, *, deleted: bool = False
) -> Sequence[tuple[GroupMember, Character]]:
    """The members in their order. A character that is deleted is none until it is restored."""
    query = select(GroupMember, Character).join(Character, Character.id == GroupMember.character_id)
    query = query.where(GroupMember.group_id == group_id)
    if not deleted:
        query = query.where(Character.deleted_at.is_(None))
    rows = await db.execute(query.order_by(GroupMember.place, GroupMember.character_id))
    return [(member, character) for member, character in rows]


async def cast_of(db: AsyncSession, row: Character) -> Cast:
    """A group as a turn knows it."""
    group, fields = await db.get_one(Group, row.id), CharacterFields.model_validate(row.document)
    members = await members_of(db, row.id)
    return Cast(
        id=row.id,
        slug=row.slug.removeprefix(PREFIX),
        name=fields.name,
        scenario=fields.scenario,
        order=group.turn_order,  # type: ignore[arg-type]
        again=group.again,
        voices=tuple(Voice(one.id, called(one), member.talkativeness, member.muted) for member, one in members),
        slugs={one.id: one.slug for _member, one in members},
    )


async def show(db: AsyncSession, row: Character) -> GroupOut:
    """A group as the routes tell of it."""
    group, fields = await db.get_one(Group, row.id), CharacterFields.model_validate(row.document)
    return GroupOut(
        slug=row.slug.removeprefix(PREFIX),
        model=row.slug,
        name=fields.name,
        language=fields.language,
        scenario=fields.scenario,
        order=group.turn_order,
        again=group.again,
        members=[
            MemberOut(
                character=one.slug,
                name=called(one),
                talkativeness=member.talkativeness,
                muted=member.muted,
                joined_at=member.joined_at,
            )
            for member, one in await members_of(db, row.id)
        ],
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def called(character: Character) -> str:
    """The name that a character goes by."""
    return CharacterFields.model_validate(character.document).called


def _write(row: Character, body: GroupFields) -> None:
    fields = CharacterFields(name=body.name, language=body.language, persona=body.name, scenario=body.scenario)
    row.document = fields.model_dump()


async def _replace_members(db: AsyncSession, caller: Caller, row: Character, members: Sequence[MemberIn]) -> None:
    """The members as they are listed; one that is deleted now stays, unseen, behind them."""
    before = {character.id: (member, character) for member, character in await members_of(db, row.id, deleted=True)}
    for place, body in enumerate(members):
        character = await find(db, caller, body.character)
        known = before.pop(character.id, None)
        member = known[0] if known else await _member(db, row, character, place)
        member.place = place
        _take_part(member, body)
        db.add(member)
    gone = [id_ for id_, (_member, character) in before.items() if character.deleted_at is None]
    await db.execute(delete(GroupMember).where(GroupMember.group_id == row.id, GroupMember.character_id.in_(gone)))
    for number, (member, character) in enumerate(before.values(), len(members)):
        if character.deleted_at is not None:
            member.place = number
    await db.flush()


async def _member(db: AsyncSession, row: Character, character: Character, place: int) -> GroupMember:
    """A new member, as talkative as its card says."""
    data = await db.scalar(select(CharacterCard.data).where(CharacterCard.character_id == character.id))
    told = ((data or {}).get("extensions") or {}).get("talkativeness")
    return GroupMember(group_id=row.id, character_id=character.id, place=place, talkativeness=_share(told))


def _share(told: Any) -> float:
    """Talkativeness as a card says it: SillyTavern writes it as text."""
    try:
        share = float(told)
    except (TypeError, ValueError):
        return TALKATIVENESS
    return min(1.0, max(0.0, share)) if math.isfinite(share) else TALKATIVENESS


def _take_part(member: GroupMember, fields: MemberFields) -> None:
    member.muted = fields.muted
    if fields.talkativeness is not None:
        member.talkativeness = fields.talkativeness


def _places(group_id: str) -> Select[int, int]:
    last = func.coalesce(func.max(GroupMember.place), -1)
    return select(last, func.count()).where(GroupMember.group_id == group_id)
