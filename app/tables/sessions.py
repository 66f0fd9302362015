"""Conversations: a session and the tree of its messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from app.sessions.tree import said_hash
from app.tables.columns import Base, Floats, new_id, now


class Session(Base):
    """A conversation of one user with one character or group: a tree of messages and the leaf that is current.

    `revision` is raised by every change; `note` is the author's, told `note_depth` messages before the end.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_scope", "owner", "user", "character_id"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(String(200), default="")
    leaf_id: Mapped[str | None] = mapped_column(String(32))
    revision: Mapped[int] = mapped_column(default=1)
    note: Mapped[str] = mapped_column(Text, default="")
    note_depth: Mapped[int] = mapped_column(default=4)
    pinned: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, index=True)
    deleted_at: Mapped[datetime | None]


def _said_hash(row: DefaultExecutionContext) -> str:
    fields = row.get_current_parameters()  # type: ignore[no-untyped-call]
    return said_hash(fields["role"], fields["text"])


class Message(Base):
    """A node of a session's tree. Siblings are edits, swipes and branches.

    `origin_id` is the message that a copy (of a fork, an edit, a resent history) is of, else null;
    `active` tells that the message is on the current branch of a session that is not deleted. `emotion` is how a user's
    message felt, null until it was heard; `name` is that of the speaker, where the client sent one.
    In a group `audience` are the ids of the members who were present, and know of it; `speaker_id` is that of the
    member who spoke, or the group's own where nobody knows who did; `name` is what it went by then.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_path_hash", "path_hash", "session_id"),
        Index("ix_messages_said_hash", "said_hash", "session_id"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    depth: Mapped[int]
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    path_hash: Mapped[str] = mapped_column(String(64))
    said_hash: Mapped[str] = mapped_column(String(64), default=_said_hash)
    outcome: Mapped[str] = mapped_column(String(16), default="finished")
    turn_id: Mapped[str | None] = mapped_column(String(32))
    origin_id: Mapped[str | None] = mapped_column(String(32), index=True)
    active: Mapped[bool] = mapped_column(default=True)
    emotion: Mapped[Floats | None]
    name: Mapped[str | None] = mapped_column(String(64))
    speaker_id: Mapped[str | None] = mapped_column(String(32))
    audience: Mapped[list[Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]
