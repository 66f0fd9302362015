"""Find where in the stored conversations a request goes on.

Clients without a session send what they have of the conversation, each time. These things are tried, in this order:

1. What was sent, from its first message on, is the beginning of a stored conversation (content addresses, `tree`): the
   deepest match is the branch point. Where that does not reach the character's last reply, the same is tried with
   and without the greeting and names (`told`).
2. What was sent is the middle of one: the client has left out the oldest messages, or some after the first (`run`).
3. What was sent is one with its first message edited, or the first after a greeting: it goes beside what it was.
4. It is a new conversation.

Whatever is ambiguous goes to the newest. What was sent after the branch point is stored below it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.sessions.run import Run, Said, is_certain, longest_run
from app.sessions.store import LOOKUP, Place, Scope, branch_ids, chunks, find_session, read_branch
from app.sessions.told import Opening, tellings
from app.sessions.tree import path_hashes, said_hash
from app.tables import Message as Row
from app.tables import Session
from models.scene import Message

SAME = 2_000
"""At most so many stored messages that say the same as one that was sent are looked at, the newest first."""


async def locate(
    db: AsyncSession, scope: Scope, messages: Sequence[Message], session_id: str | None, opening: Opening
) -> Place:
    """Where a request goes on; `messages` end with the user's.

    With a `session_id`, what was sent is matched within that session where it has replies of the character's in it;
    without any it is only what is new and continues the current branch, as does what matches nothing.

    Raises:
        NotFound: no such session in this scope.
    """
    ways = tellings(messages, opening)
    if session_id is None:
        place = await _match(db, scope, ways, None)
        return _unmatched(ways[0]) if place is None or await _begins_anew(db, place) else place
    session = await find_session(db, scope, session_id)
    if _replies(messages):
        place = await _match(db, scope, ways, session_id)
        if place is not None:
            return place
    if session.leaf_id is None:
        return _unmatched(ways[0], session_id)
    return await place_below(db, session.leaf_id, ways[0], session_id)


async def _match(
    db: AsyncSession, scope: Scope, ways: Sequence[tuple[Message, ...]], session_id: str | None
) -> Place | None:
    """Where stored conversations say what was sent; None where they don't."""
    best = await _match_beginning(db, scope, ways[0], session_id)
    if not _reaches_last_reply(best):
        others = [await _match_beginning(db, scope, way, session_id) for way in await _begun(db, scope, ways[1:])]
        best = min([best, *others], key=_fresh)
    matched = best if best.stored else None
    if _reaches_last_reply(best) or not _replies(ways[0]):
        return matched
    hashes = [said_hash(message.role, message.content) for message in ways[0]]
    stored = await _said_alike(db, scope, hashes, session_id)
    middle = await _match_middle(db, ways[0], hashes, stored, best, session_id)
    return middle or await _match_edited(db, scope, ways[0], hashes, stored, best) or matched


async def _begun(db: AsyncSession, scope: Scope, ways: Sequence[tuple[Message, ...]]) -> list[tuple[Message, ...]]:
    """Those ways in which a stored conversation begins, up to the user's first message: a greeting alone tells no
    conversation from another."""
    firsts = {}
    for way in ways:
        end = next(place for place, message in enumerate(way, 1) if message.role == "user")
        firsts[path_hashes(way[:end])[-1]] = way
    query = select(Row.path_hash).join(Session, Session.id == Row.session_id).where(*_living(scope, None))
    known = set(await db.scalars(query.where(Row.path_hash.in_(firsts)).distinct()))
    return [way for first, way in firsts.items() if first in known]


async def _match_beginning(
    db: AsyncSession, scope: Scope, messages: tuple[Message, ...], session_id: str | None
) -> Place:
    """The longest beginning of the messages that is the beginning of a stored conversation."""
    hashes = path_hashes(messages)
    for end in range(len(hashes), 0, -LOOKUP):
        asked = hashes[max(0, end - LOOKUP) : end]
        query = select(Row).join(Session, Session.id == Row.session_id)
        query = query.where(Row.path_hash.in_(asked), *_living(scope, session_id))
        # A fork has the times of what it is a fork of.
        order = Row.depth.desc(), Row.created_at.desc(), Session.created_at.desc(), Row.id
        leaf: Row | None = await db.scalar(query.order_by(*order).limit(1))
        if leaf is not None:
            stored = await db.scalars(select(Row.id).where(Row.id.in_(branch_ids(leaf.id))).order_by(Row.depth))
            ids = [*stored, *(None for _ in messages)][: len(messages)]
            return Place(leaf.session_id, messages, tuple(ids), leaf.id, leaf.path_hash)
    return _unmatched(messages, session_id)


async def _match_middle(
    db: AsyncSession,
    messages: tuple[Message, ...],
    hashes: Sequence[str],
    stored: Collection[Said],
    begun: Place,
    session_id: str | None,
) -> Place | None:
    """The stored conversation that the messages are the middle of, also after a beginning that is its beginning."""
    runs = [longest_run(hashes, stored, 0, session_id)]
    if begun.stored and begun.history == messages:
        runs.append(longest_run(hashes, stored, begun.stored, begun.session_id))
    for run in sorted((run for run in runs if run), key=lambda run: -run.end):
        place = await _place_of(db, run, messages, begun)
        said = messages[run.start : run.end]
        if place and run.end > begun.stored and (is_certain(said) or (session_id is not None and _replies(said))):
            return place
    return None


async def _match_edited(
    db: AsyncSession,
    scope: Scope,
    messages: tuple[Message, ...],
    hashes: Sequence[str],
    stored: Collection[Said],
    begun: Place,
) -> Place | None:
    """A place in the stored conversation that says the same but for one message, before which nothing tells it from
    others: there the edited message goes beside it."""
    edited = begun.stored if begun.history == messages else 0
    if is_certain(messages[:edited]):
        return None
    run = longest_run(hashes, stored, edited + 1, deeper=False)
    if run is None or not is_certain(messages[run.start : run.end]):
        return None
    return await _match_beginning(db, scope, messages, run.leaf.session_id)


async def _place_of(db: AsyncSession, run: Run, messages: tuple[Message, ...], begun: Place) -> Place | None:
    place = await place_below(db, run.leaf.id, messages[run.end :], run.leaf.session_id)
    return place if run.start == 0 or begun.parent_id in place.ids else None


async def _said_alike(db: AsyncSession, scope: Scope, hashes: Sequence[str], session_id: str | None) -> list[Said]:
    columns = select(Row.id, Row.parent_id, Row.session_id, Row.depth, Row.said_hash, Row.created_at)
    query = columns.join(Session, Session.id == Row.session_id).where(*_living(scope, session_id))
    stored: list[Said] = []
    for asked in chunks(list(dict.fromkeys(hashes))):
        rows = await db.execute(query.where(Row.said_hash.in_(asked)).order_by(Row.created_at.desc()).limit(SAME))
        stored += [Said(*row) for row in rows]
    return stored


def _living(scope: Scope, session_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """Messages of this scope, or of one session of it, that were not deleted."""
    return (
        Session.owner == scope.owner,
        Session.user == scope.user,
        Session.character_id == scope.character_id,
        Session.deleted_at.is_(None),
        Row.deleted_at.is_(None),
        *((Row.session_id == session_id,) if session_id is not None else ()),
    )


async def place_below(db: AsyncSession, leaf_id: str, messages: Sequence[Message], session_id: str) -> Place:
    """The messages below a stored one, with all that was said up to it."""
    branch = await read_branch(db, leaf_id)
    said = (Message("assistant" if row.role == "assistant" else "user", row.text) for row in branch)
    ids = (*(row.id for row in branch), *(None for _ in messages))
    return Place(session_id, (*said, *messages), ids, branch[-1].id, branch[-1].path_hash)


def _unmatched(messages: tuple[Message, ...], session_id: str | None = None) -> Place:
    return Place(session_id, messages, tuple(None for _ in messages))


def _fresh(place: Place) -> int:
    return len(place.history) - place.stored


def _replies(messages: Sequence[Message]) -> bool:
    return any(message.role == "assistant" for message in messages)


def _reaches_last_reply(place: Place) -> bool:
    return place.stored > 0 and not _replies(place.history[place.stored :])


async def _begins_anew(db: AsyncSession, place: Place) -> bool:
    """Whether a first message is no new try in the conversation that begins the same, because that has gone on.

    Many conversations begin with the same greeting or the same hello. One that became a branch of another would put out
    what was said there.
    """
    asked = [n for n, message in enumerate(place.history) if message.role == "user"]
    if len(asked) > 1 or place.parent_id is None:
        return False
    # Below the message that is tried anew: its replies, and what was said to these.
    below = [place.parent_id]
    for _generation in range(2 if place.stored == len(place.history) else 3):
        query = select(Row.id).where(Row.parent_id.in_(below), Row.deleted_at.is_(None))
        below = list(await db.scalars(query.limit(LOOKUP)))
    return bool(below)
