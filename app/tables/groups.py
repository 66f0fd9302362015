"""Groups: several characters in one conversation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.columns import Base, now


class Group(Base):
    """How a group talks. Its name, slug and sessions are those of the row in `characters` that it is, of kind `group`.

    `turn_order` is one of `app.groups.order.Order`; with `again` a member may answer itself.
    """

    __tablename__ = "groups"
    id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), primary_key=True)
    turn_order: Mapped[str] = mapped_column(String(16), default="natural")
    again: Mapped[bool] = mapped_column(default=False)


class GroupMember(Base):
    """A character that is in a group now, at a `place` among its members. What it heard stands with the messages."""

    __tablename__ = "group_members"
    group_id: Mapped[str] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True)
    character_id: Mapped[str] = mapped_column(
        ForeignKey("characters.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    place: Mapped[int]
    talkativeness: Mapped[float]
    muted: Mapped[bool] = mapped_column(default=False)
    joined_at: Mapped[datetime] = mapped_column(default=now)
