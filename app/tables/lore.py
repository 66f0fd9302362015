"""Lorebooks that several characters may share, and the timers of lore along conversations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.columns import Base, BigId, new_id, now


class Lorebook(Base):
    """A book of an owner, or of everyone on this server; for one user or all, for one character or all.

    `revision` is raised by every change of it or its entries, so that an index of it is known to be old.
    """

    __tablename__ = "lorebooks"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100), index=True)
    user: Mapped[str | None] = mapped_column(String(200))
    character_id: Mapped[str | None] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    enabled: Mapped[bool] = mapped_column(default=True)
    settings: Mapped[dict[str, Any]]
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class LorebookEntry(Base):
    """An entry of a lorebook; `document` holds the fields of `app.lore.entry.Entry`."""

    __tablename__ = "lorebook_entries"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    lorebook_id: Mapped[str] = mapped_column(ForeignKey("lorebooks.id", ondelete="CASCADE"), index=True)
    place: Mapped[int]
    document: Mapped[dict[str, Any]]


class LoreTimers(Base):
    """What ran after a reply: stickiness and cooldown. A turn goes on from those of the nearest reply above it.

    Copies of a message are known as their original, so that a fork takes its timers along.
    """

    __tablename__ = "lore_timers"
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    document: Mapped[dict[str, Any]]
