"""What is kept of a user beside conversations: memories, the bond and what moved it, personas."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.columns import Base, BigId, Floats, Terms, new_id, new_revision, now


class Memory(Base):
    """An exchange that can be recalled, with how it felt.

    `previous_id` is the exchange before it in the same conversation; `context` is the vector of both together, by which
    an exchange that says little by itself is found. `encoder` names how the row was indexed (`Services.recipe`),
    `tagger` what heard its emotion (`Services.tagger`). `message_id` and `reply_id` are the originals of the exchange's
    two messages; it is `retired`, not recalled, while no current branch holds it.
    """

    __tablename__ = "memories"
    __table_args__ = (Index("ix_memories_scope", "owner", "user", "character_id"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    session_id: Mapped[str | None] = mapped_column(ForeignKey("sessions.id", ondelete="SET NULL"), index=True)
    # No foreign keys: an original may be gone for good while a copy of it is current.
    message_id: Mapped[str | None] = mapped_column(String(32), index=True)
    reply_id: Mapped[str | None] = mapped_column(String(32), index=True)
    retired: Mapped[bool] = mapped_column(default=False)
    text: Mapped[str] = mapped_column(Text)
    encoder: Mapped[str] = mapped_column(String(200), index=True)
    vector: Mapped[Floats]
    context: Mapped[Floats | None]
    emotion: Mapped[Floats]
    tagger: Mapped[str | None] = mapped_column(String(100))
    terms: Mapped[Terms | None]
    previous_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("memories.id", name="fk_memories_previous_id_memories", ondelete="SET NULL"), index=True
    )
    importance: Mapped[float] = mapped_column(default=0.0)
    pinned: Mapped[bool] = mapped_column(default=False)
    uses: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]


class Bond(Base):
    """What stands between one user and one character: the sum of what was said and happened on current branches.

    `variables` are the character's own numbers, `rules` names those that it was summed up by (`Rules.digest`).

    `base` is where the sum begins, for a bond that is older than the single feelings it would be summed up from:
    `affinity`, `stage`, `mood`, `turns` as they stood, and `at`, the moment; what was said before it is in it.
    """

    __tablename__ = "bonds"
    __table_args__ = (UniqueConstraint("owner", "user", "character_id", name="uq_bonds_scope"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    affinity: Mapped[float] = mapped_column(default=0.0)
    stage: Mapped[str] = mapped_column(String(100), default="")
    mood: Mapped[Floats | None]
    turns: Mapped[int] = mapped_column(default=0)
    memory_revision: Mapped[int] = mapped_column(default=new_revision)
    base: Mapped[dict[str, Any] | None]
    variables: Mapped[dict[str, Any] | None]
    rules: Mapped[str] = mapped_column(String(16), default="", server_default="")
    updated_at: Mapped[datetime] = mapped_column(default=now)


class BondEvent(Base):
    """Something that moved a bond and was not said: an `event` adds `numbers`, a `set` puts them in place.

    What was `judged` by the language model adds, too; what is `waiting` to be judged changes nothing, and a process
    that is about to judge it says since when by `claimed_at`.

    `message_id` is the original of the message after which it happened: it counts while that is on a current branch.
    What belongs to no message always counts.
    """

    __tablename__ = "bond_events"
    __table_args__ = (Index("ix_bond_events_scope", "owner", "user", "character_id"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    # No foreign key: an original may be gone for good while a copy of it is current.
    message_id: Mapped[str | None] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    claimed_at: Mapped[datetime | None]
    name: Mapped[str] = mapped_column(String(100), default="")
    numbers: Mapped[dict[str, Any]]
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class Persona(Base):
    """Who a user is when talking with characters: what `{{user}}` stands for, and what the character is told.

    The default holds where a request names none; one with a `character_id` only for that character.
    """

    __tablename__ = "personas"
    __table_args__ = (UniqueConstraint("owner", "user", "name", name="uq_personas_name"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    character_id: Mapped[str | None] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    text: Mapped[str] = mapped_column(Text, default="")
    is_default: Mapped[bool] = mapped_column(default=True)
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
