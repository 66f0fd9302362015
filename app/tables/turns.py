"""Turns under way, why they were what they were, and keyed writes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.columns import Base, new_id, now


class Trace(Base):
    """Why a turn was what it was. Its id is the turn's."""

    __tablename__ = "traces"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100), index=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    outcome: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class TurnRecord(Base):
    """A turn while it runs and for some hours after, so that any process can tell of it, resume it and cancel it.

    `state` is `running`, or how it ended: `finished`, `hung_up`, `failed`, `cancelled`. `text` is what was told so far,
    `seen_at` when its process last wrote, `cancel` the wish of some process that it ends. `speaker` is the slug of the
    member that speaks, in a group.
    """

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_owner", "owner", "created_at"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    session_id: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
    speaker: Mapped[str | None] = mapped_column(String(100))
    state: Mapped[str] = mapped_column(String(16), default="running")
    text: Mapped[str] = mapped_column(Text, default="")
    finish: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    message_id: Mapped[str | None] = mapped_column(String(32))
    reply_id: Mapped[str | None] = mapped_column(String(32))
    cancel: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    seen_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class KeyedCall(Base):
    """A write that named itself by an `Idempotency-Key`, and its answer once there is one: `status` null until then.

    `holder` is who makes it now. `written` once what it asks for is done, though it may not be answered yet. `body` is
    null of an answer that is not kept; `turn_id` names the turn that was asked for.
    """

    __tablename__ = "keyed_calls"
    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    holder: Mapped[str | None] = mapped_column(String(32))
    written: Mapped[bool] = mapped_column(default=False)
    status: Mapped[int | None]
    headers: Mapped[list[Any] | None]
    body: Mapped[bytes | None]
    turn_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    seen_at: Mapped[datetime] = mapped_column(default=now)
