"""Conversations into and out of the database, whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.store import WAITING, events_of
from app.groups.cast import Cast
from app.groups.remember import NAME_CHARS, form_for_all, lock_bonds_of
from app.groups.store import GROUP, cast_of
from app.memory.waiting import form_missing
from app.sessions import change
from app.sessions.archive import Archive, Happened, Kept, Told
from app.sessions.find import scope_of, speakers
from app.sessions.kept import keep, kept_of, read_kept
from app.sessions.show import slugs_of
from app.sessions.store import Scope, child, original
from app.tables import BondEvent, Character, Message, Session, new_id, now
from models.scene import Message as Said


async def take_out(db: AsyncSession, session: Session, character: Character) -> Archive:
    """All of a conversation, what is deleted in it too."""
    query = select(Message).where(Message.session_id == session.id)
    rows = list(await db.scalars(query.order_by(Message.depth, Message.created_at, Message.id)))
    happened = await _happened(db, session)
    # In a group a line is remembered by everyone who heard it, each in its own way.
    kept = {} if character.kind == GROUP else await read_kept(db, rows, await speakers(db, session, character))
    slugs = await slugs_of(db, rows)
    return Archive(
        messages=tuple(_told(row, happened.pop(original(row), []), kept.get(row.id), slugs) for row in rows),
        leaf=session.leaf_id,
        character=character.slug,
        user=session.user,
        title=session.title,
        note=session.note,
        note_depth=session.note_depth,
        pinned=session.pinned,
        created_at=session.created_at,
        updated_at=session.updated_at,
    )


async def bring_in(db: AsyncSession, scope: Scope, character: Character, archive: Archive) -> Session:
    """A new session of an archive. It counts like any other; what it says is remembered and felt in the background."""
    cast = await cast_of(db, character) if character.kind == GROUP else None
    await lock_bonds_of(db, scope, cast.present if cast else ())
    present = now()
    session = Session(
        id=new_id(),
        owner=scope.owner,
        user=scope.user,
        character_id=scope.character_id,
        title=archive.title or _title(archive),
        note=archive.note,
        note_depth=archive.note_depth,
        pinned=archive.pinned,
        created_at=_past(archive.created_at, present),
    )
    db.add(session)
    await db.flush()
    rows = _rows(archive, session.id, present)
    if cast:
        for told in archive.messages:
            _place_in_group(cast, rows[told.key], told)
    db.add_all(rows.values())
    await db.flush()
    for told in archive.messages:
        db.add_all(_event(scope, original(rows[told.key]), one, present) for one in told.happened)
    names = await speakers(db, session, character)
    fresh = {row.id for row in rows.values()}
    if cast:
        await form_for_all(db, scope, list(rows.values()), fresh, names[0])
    else:
        kept = kept_of(archive, rows)
        forgotten = {pair for pair, memory in kept.items() if memory.forgotten}
        await form_missing(db, scope, list(rows.values()), fresh, names=names, forgotten=forgotten)
        await keep(db, session.id, kept)
    leaf = rows.get(archive.leaf or "")
    # A current branch ends where nothing is below; a file may have been written by hand.
    await change.choose(db, session, leaf.id if leaf is not None and leaf.deleted_at is None else None)
    session.updated_at = _past(archive.updated_at, present)
    await db.flush()
    return session


def _rows(archive: Archive, session_id: str, present: datetime) -> dict[str, Message]:
    """Rows with ids of their own by the keys of the archive, parents first.

    What was said at the same moment is ordered by ids, what has no time was said just now: both keep the file's order.
    """
    ids = sorted(new_id() for _told in archive.messages)
    rows: dict[str, Message] = {}
    originals: dict[str, str] = {}
    for number, told in enumerate(archive.messages):
        parent = rows[told.parent] if told.parent is not None else None
        row = child(session_id, parent, Said(told.role, told.text), None)
        row.id = ids[number]
        row.name, row.outcome = told.name, told.outcome
        untimed = present - timedelta(microseconds=len(ids) - number)
        row.created_at = untimed if told.created_at is None else min(told.created_at, present)
        if told.deleted_at is not None:
            row.deleted_at = _past(told.deleted_at, present)
        row.emotion = None if told.emotion is None else np.clip(told.emotion, 0.0, 1.0).astype(np.float32)
        rows[told.key] = row
    for told in archive.messages:
        known = told.origin or told.key
        if known in rows:
            originals[known] = rows[known].id
        # That of another session is nobody's here; the first of its copies stands for it.
        first = originals.setdefault(known, rows[told.key].id)
        rows[told.key].origin_id = first if first != rows[told.key].id else None
    return rows


def _place_in_group(cast: Cast, row: Message, told: Told) -> None:
    """Who said a message and who heard it, of those who are in the group now.

    A file that does not tell, as SillyTavern's, names speakers by what they go by, and all who are here were there.
    """
    ids = {slug: id_ for id_, slug in cast.slugs.items()}
    heard = cast.slugs.values() if told.heard_by is None else told.heard_by
    row.audience = [ids[slug] for slug in heard if slug in ids]
    if told.role == "assistant":
        named = next((voice.id for voice in cast.voices if voice.name == told.name), cast.id)
        row.speaker_id = ids.get(told.speaker or "", named)
        row.name = told.name or cast.name_of(row.speaker_id)[:NAME_CHARS]


async def _happened(db: AsyncSession, session: Session) -> dict[str, list[BondEvent]]:
    """What moved the bond after messages of a session, by their originals."""
    originals = select(func.coalesce(Message.origin_id, Message.id)).where(Message.session_id == session.id)
    events = select(BondEvent).where(
        *events_of(scope_of(session)), BondEvent.message_id.in_(originals), BondEvent.kind != WAITING
    )
    found: dict[str, list[BondEvent]] = defaultdict(list)
    for row in await db.scalars(events.order_by(BondEvent.created_at, BondEvent.id)):
        found[row.message_id or ""].append(row)
    return found


def _event(scope: Scope, message_id: str, one: Happened, present: datetime) -> BondEvent:
    return BondEvent(
        owner=scope.owner,
        user=scope.user,
        character_id=scope.character_id,
        message_id=message_id,
        kind=one.kind,
        name=one.name,
        numbers=dict(one.numbers),
        note=one.note,
        created_at=_past(one.created_at, present),
    )


def _told(row: Message, happened: Sequence[BondEvent], memory: Kept | None, slugs: Mapping[str, str]) -> Told:
    return Told(
        key=row.id,
        parent=row.parent_id,
        role="assistant" if row.role == "assistant" else "user",
        text=row.text,
        created_at=row.created_at,
        name=row.name,
        outcome=row.outcome,
        origin=row.origin_id,
        emotion=None if row.emotion is None else tuple(row.emotion.tolist()),
        deleted_at=row.deleted_at,
        happened=tuple(Happened(one.kind, one.name, one.numbers, one.note, one.created_at) for one in happened),
        memory=memory,
        speaker=slugs.get(row.speaker_id or ""),
        heard_by=None if row.audience is None else tuple(slugs[one] for one in row.audience if one in slugs),
    )


def _title(archive: Archive) -> str:
    first = next((told.text for told in archive.messages if told.role == "user"), "")
    return " ".join(first.split())[:60]


def _past(moment: datetime | None, present: datetime) -> datetime:
    """Nothing was said after now: what comes next must be the latest."""
    return present if moment is None else min(moment, present)
