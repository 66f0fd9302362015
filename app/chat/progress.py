"""How far a turn is, as the database tells it to every process: begun, kept up to date, ended, and told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import keyed
from app.bond.store import hold_seen
from app.chat.ask import Mode, Outcome, Turn
from app.chat.speak import Speech
from app.errors import AppError, Conflict, NotFound
from app.http import engine_status
from app.keyed import Call
from app.tables import TurnRecord, now
from models.engine import EngineError

LOST = timedelta(seconds=30)
"""A running turn of which nothing was heard for so long is one whose process is gone."""
GONE = {"message": "The server that spoke this turn is gone; what it had said so far is `text`.", "code": "lost"}

State = Literal["running", "finished", "hung_up", "failed", "cancelled"]


class TurnOut(BaseModel):
    """A turn: while it runs, and for some hours after it has ended."""

    id: str
    session_id: str
    mode: Mode
    speaker: str | None = Field(None, description="In a group, the slug of the member that speaks.")
    state: State = Field(description="running, or how it ended; hung_up: the client left and nobody came back in time")
    text: str = Field(description="What was said so far.")
    message_id: str | None = Field(None, description="The user's message, once it is stored.")
    reply_id: str | None = Field(None, description="The reply, once it is stored.")
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    error: dict[str, str] | None = Field(None, description="Why it failed: a sentence and a code.")
    created_at: datetime
    ended_at: datetime | None = None
    following: list[TurnOut] = Field([], description="In a group, the turns of those who spoke after it.")


@dataclass(frozen=True, slots=True)
class Beat:
    """What a process writes about a turn that goes on."""

    id: str
    text: str


async def begin(db: AsyncSession, turn: Turn, mode: Mode, call: Call | None = None) -> None:
    """A turn begins: while its row is there, what it says may be stored.

    `call` is the one with a key that asked for it. Rows are locked in one order by everyone: bond, turns, what was
    said, keyed calls. Raises `Conflict`: the user was erased since the turn was prepared, or somebody else makes the
    call by now.
    """
    if not await hold_seen(db, turn.known.scope, turn.known.bond):
        raise erased()
    owner = turn.ask.caller.owner
    user, speaker = turn.known.scope.user, turn.ask.slug if turn.ask.cast else None
    db.add(TurnRecord(id=turn.id, owner=owner, user=user, session_id=turn.session_id, mode=mode, speaker=speaker))
    if call:
        await db.flush()
        await keyed.name_turn(db, call, turn.id)


async def beat(db: AsyncSession, beats: Iterable[Beat]) -> None:
    """Turns go on. The rows are taken in one order by everyone, so that two processes never wait crosswise."""
    for one in sorted(beats, key=lambda one: one.id):
        running = (TurnRecord.id == one.id, TurnRecord.state == "running")
        await db.execute(update(TurnRecord).where(*running).values(text=one.text, seen_at=now()))


async def hold(db: AsyncSession, turn_id: str) -> None:
    """Lock a turn's row, before anything of it is stored.

    Raises `Conflict`: an erasure has taken it away, or it was given up and its call made anew.
    """
    state = await db.scalar(select(TurnRecord.state).where(TurnRecord.id == turn_id).with_for_update())
    if state is None:
        raise erased()
    if state != "running":
        raise Conflict(keyed.TAKEN_ANEW["message"], code=keyed.TAKEN_ANEW["code"])


async def end(db: AsyncSession, turn_id: str, speech: Speech, outcome: Outcome, **ids: str) -> None:
    """A turn has ended; in the transaction that stores what was said, so that both are true or neither is."""
    finish = asdict(speech.finish) if speech.finish else None
    error = failure(speech.error) if speech.error else None
    values = {"state": outcome, "text": speech.said, "finish": finish, "error": error, "ended_at": now(), **ids}
    running = (TurnRecord.id == turn_id, TurnRecord.state == "running")
    await db.execute(update(TurnRecord).where(*running).values(**values))


async def read(db: AsyncSession, owner: str, turn_id: str) -> TurnRecord:
    """The record of a turn; raises `NotFound` for one that isn't the owner's."""
    row = await db.scalar(select(TurnRecord).where(TurnRecord.id == turn_id, TurnRecord.owner == owner))
    if row is None:
        raise NotFound(f"You have no turn {turn_id!r}, or it ended too long ago to be told.", code="turn_not_found")
    return row


async def wishes(db: AsyncSession, turn_ids: Sequence[str]) -> dict[str, bool]:
    """Of each of the turns that is still there, whether somebody cancelled it."""
    query = select(TurnRecord.id, TurnRecord.cancel).where(TurnRecord.id.in_(turn_ids))
    return {row.id: row.cancel for row in await db.execute(query)}


async def forget(db: AsyncSession, owner: str, user: str) -> int:
    """Take away a user's turns, and with their rows the leave to store anything of them; returns how many."""
    mine = select(TurnRecord.id).where(TurnRecord.owner == owner, TurnRecord.user == user)
    return await _remove(db, mine.order_by(TurnRecord.id).with_for_update())


async def prune(db: AsyncSession, hours: float) -> None:
    """Forget turns that ended long ago; the conversations stay. What somebody else holds is left to the next time."""
    over = or_(TurnRecord.state != "running", TurnRecord.seen_at < now() - LOST)
    old = select(TurnRecord.id).where(TurnRecord.created_at < now() - timedelta(hours=hours), over)
    await _remove(db, old.order_by(TurnRecord.id).with_for_update(skip_locked=True))


def erased() -> Conflict:
    """Why nothing of a turn is kept."""
    return Conflict("Whom this reply was spoken to was erased meanwhile; nothing of it is kept.", code="erased")


def taken_away(seen: TurnOut) -> TurnOut:
    """How a turn ended of which nothing is kept any more, for who saw it run."""
    if seen.state != "running":
        return seen
    return seen.model_copy(update={"state": "failed", "error": failure(erased()), "ended_at": now()})


def failure(error: BaseException) -> dict[str, str]:
    """Why a turn failed: a sentence and a code."""
    if isinstance(error, EngineError):
        return {"message": str(error), "code": engine_status(error)[1]}
    if isinstance(error, AppError):
        return {"message": error.message, "code": error.code}
    return {"message": "Something broke on our side; the log has it.", "code": "server_error"}


def finished(finish: dict[str, Any]) -> dict[str, Any]:
    """How the engine ended, as `TurnOut` has it."""
    usage = {name: count for name, count in finish.items() if name.endswith("_tokens")}
    return {"finish_reason": finish.get("reason"), "usage": usage or None}


def show(row: TurnRecord) -> TurnOut:
    """A record as it is told. One whose process is gone has failed, whatever it says."""
    lost = row.state == "running" and row.seen_at < now() - LOST
    return TurnOut(
        id=row.id,
        session_id=row.session_id,
        mode=row.mode,
        speaker=row.speaker,
        state="failed" if lost else row.state,
        text=row.text,
        message_id=row.message_id,
        reply_id=row.reply_id,
        **finished(row.finish or {}),
        error=GONE if lost else row.error,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


async def _remove(db: AsyncSession, which: Select[str]) -> int:
    """Rows are locked in the query's order before they go, so that nobody who takes several waits crosswise."""
    gone = await db.execute(delete(TurnRecord).where(TurnRecord.id.in_(which)))
    return int(gone.rowcount)  # type: ignore[attr-defined]
