"""Calls that name themselves by an `Idempotency-Key`: claimed by one request, kept with their answer, let go."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import BadRequest, Conflict, Unprocessable
from app.sessions.store import chunks
from app.tables import KeyedCall, TurnRecord, new_id, now

LOST = timedelta(seconds=30)
"""A call without an answer of which nothing was heard for so long is one whose process is gone."""
TAKEN_ANEW = {"message": "Nothing was heard of this turn for so long that it was taken anew.", "code": "lost"}
SCOPE = "keyed_call"
"""Where a request's ASGI scope tells of its call."""
UNANSWERED = 0
"""The status of a call that is done and will never be answered."""
WHOLE = ("finished", "cancelled")
"""How a turn ended whose answer is kept. One that failed or was left alone may be tried again under the same key."""

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call: whose, by which key, and a digest of what it asks for. `openai` tells at which door.

    `holder` is who makes it: a try that was given up, and made anew by another, can change nothing any more. It `broke`
    off where what it asks for did not come to its end, of which the status of an answer that has begun tells nobody.
    """

    owner: str
    key: str
    digest: str
    openai: bool
    holder: str = field(default_factory=new_id)
    broke: asyncio.Event = field(default_factory=asyncio.Event)


def digest(parts: Sequence[bytes], body: bytes, boundary: bytes) -> str:
    """What a call asks for; a multipart body is the same whatever its boundary, which clients choose anew each time."""
    asked = hashlib.sha256()
    for part in parts:
        asked.update(len(part).to_bytes(8) + part)
    asked.update(body.replace(boundary, b"") if boundary else body)
    return asked.hexdigest()


async def claim(db: AsyncSession, call: Call) -> KeyedCall | None:
    """The call as it was made before; None when it was not, and is now the caller's to make.

    Raises:
        BadRequest, Unprocessable: the key has named another call.
        Conflict: what it asked for is done, but its process is gone, or its answer was not kept.
    """
    insert = postgresql_insert if db.get_bind().dialect.name == "postgresql" else sqlite_insert
    fields = {"owner": call.owner, "key": call.key, "digest": call.digest, "holder": call.holder}
    made = insert(KeyedCall).values(**fields).on_conflict_do_nothing().returning(KeyedCall.key)
    if await db.scalar(made) is not None:
        return None
    row = await db.scalar(select(KeyedCall).where(*_named(call)).with_for_update())
    if row is None:
        return await claim(db, call)
    if row.digest != call.digest:
        message = "This Idempotency-Key named another call; a new call needs a new key."
        reused = BadRequest if call.openai else Unprocessable
        raise reused(message, code="idempotency_key_reused", param="Idempotency-Key")
    if row.status == UNANSWERED:
        raise await _is_done(db, row)
    if row.status is not None and row.body is None:
        raise Conflict(
            "This call was answered before, and its answer was not to be kept; a new call needs a new Idempotency-Key.",
            code="answer_not_kept",
        )
    if row.status is None and is_lost(row.seen_at):
        await _take_over(db, row, call.holder)
        return None
    return row


async def mark(db: AsyncSession, call: Call) -> None:
    """What a call asks for is done; in the transaction that does it, so that both are true or neither is.

    Raises `Conflict`: somebody else makes it by now.
    """
    await _update(db, call, written=True)


async def name_turn(db: AsyncSession, call: Call, turn_id: str) -> None:
    """A call asks for a turn, which begins in this transaction. Raises `Conflict`: somebody else makes it by now."""
    await _update(db, call, turn_id=turn_id)


async def keep(db: AsyncSession, call: Call, status: int, headers: Headers, body: bytes | None) -> None:
    """Keep an answer; of one that is not to be kept, which has no `body`, that it was given.

    If its turn did not come to its end, the call is let go instead, so that it can be tried again.
    """
    row = await db.scalar(select(KeyedCall).where(*_held(call)).with_for_update())
    if row is None or row.status is not None:
        return  # an erasure came before
    if row.turn_id and await _state(db, row) not in WHOLE:
        await db.delete(row)
        return
    row.status, row.headers, row.body = status, [list(pair) for pair in headers], body


async def let_go(db: AsyncSession, call: Call) -> None:
    """Forget a call that changed nothing: it may be tried again. One that is done is not done again."""
    row = await db.scalar(select(KeyedCall).where(*_held(call), KeyedCall.status.is_(None)).with_for_update())
    if row is None:
        return
    if row.written or await _state(db, row) in WHOLE:
        row.status = UNANSWERED
    else:
        await db.delete(row)


def is_lost(seen_at: datetime) -> bool:
    """Whether nothing was heard for so long of the process that answers a call."""
    return seen_at < now() - LOST


async def live(db: AsyncSession, call: Call) -> None:
    """Say that a call is still being answered."""
    await db.execute(update(KeyedCall).where(*_held(call)).values(seen_at=now()))


async def prune(db: AsyncSession, hours: float) -> None:
    """Forget calls that were made long ago. What somebody else holds is left to the next time."""
    old = (KeyedCall.created_at < now() - timedelta(hours=hours), KeyedCall.seen_at < now() - LOST)
    names = select(KeyedCall.owner, KeyedCall.key).where(*old).order_by(KeyedCall.owner, KeyedCall.key)
    held = names.with_for_update(skip_locked=True)
    await db.execute(delete(KeyedCall).where(tuple_(KeyedCall.owner, KeyedCall.key).in_(held)))


async def forget(db: AsyncSession, owner: str) -> int:
    """Forget an owner's calls that were answered; returns how many. Whose words an answer holds is not told by it.

    Nor is the answer kept of what is done and about to be answered.
    """
    told = (KeyedCall.owner == owner, or_(KeyedCall.status != UNANSWERED, KeyedCall.written))
    keys = list(await db.scalars(select(KeyedCall.key).where(*told).order_by(KeyedCall.key).with_for_update()))
    count = 0
    for some in chunks(keys):
        named = (KeyedCall.owner == owner, KeyedCall.key.in_(some))
        gone = await db.execute(delete(KeyedCall).where(*named, KeyedCall.status != UNANSWERED))
        count += gone.rowcount  # type: ignore[attr-defined]
        await db.execute(update(KeyedCall).where(*named, KeyedCall.status.is_(None)).values(status=UNANSWERED))
    return count


async def _take_over(db: AsyncSession, row: KeyedCall, holder: str) -> None:
    """Whoever answered is gone. What it had not stored by then can be done as if for the first time."""
    state = await _state(db, row)
    if row.written or state in WHOLE:
        raise await _is_done(db, row)
    if state == "running":
        # It may only have been held up. Whoever has the turn's row now, or had it just now, stores what was said.
        running = select(TurnRecord.id).where(TurnRecord.id == row.turn_id, TurnRecord.state == "running")
        if await db.scalar(running.with_for_update(skip_locked=True)) is None:
            raise in_use()
        ended = {"state": "failed", "error": TAKEN_ANEW, "ended_at": now()}
        await db.execute(update(TurnRecord).where(TurnRecord.id == row.turn_id).values(ended))
    row.holder, row.turn_id, row.seen_at = holder, None, now()


def in_use() -> Conflict:
    """What a retry is told while the first try is answered."""
    return Conflict(
        "The first call with this Idempotency-Key is still being answered; come back for its answer.",
        code="idempotency_key_in_use",
        retry_after=5,
    )


async def _is_done(db: AsyncSession, row: KeyedCall) -> Conflict:
    if await _state(db, row) in WHOLE:
        return Conflict(
            f"This call was not answered, but the turn that it asks for is stored: GET /api/turns/{row.turn_id}.",
            code="turn_is_stored",
        )
    return Conflict(
        "What this call asks for is done, but its answer was lost before it could be kept. See what is there now; "
        "a new call needs a new Idempotency-Key.",
        code="call_is_done",
    )


async def _state(db: AsyncSession, row: KeyedCall) -> str | None:
    """How the turn is that a call asked for."""
    return await db.scalar(select(TurnRecord.state).where(TurnRecord.id == row.turn_id)) if row.turn_id else None


async def _update(db: AsyncSession, call: Call, **values: Any) -> None:
    changed = await db.execute(update(KeyedCall).where(*_held(call)).values(**values))
    if not changed.rowcount:  # type: ignore[attr-defined]
        raise Conflict(
            "Nothing was heard of this call for so long that it was made anew; this try has changed nothing.",
            code="idempotency_key_in_use",
        )


def _held(call: Call) -> tuple[ColumnElement[bool], ...]:
    return (*_named(call), KeyedCall.holder == call.holder)


def _named(call: Call) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (KeyedCall.owner == call.owner, KeyedCall.key == call.key)
