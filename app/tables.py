"""Every table on one page. SQL is the only truth: vectors and emotions are columns, indexes are caches of them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.sessions.tree import said_hash

Floats = NDArray[np.float32]
Terms = NDArray[np.uint32]
SHARED = "*"
"""The owner of characters that everyone on this server may talk with."""


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite forgets time zones, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Numbers(TypeDecorator[NDArray[Any]]):
    """An array of numbers as little-endian bytes, read-only on the way out."""

    impl = LargeBinary
    cache_ok = True
    numbers: str

    def process_bind_param(self, value: NDArray[Any] | None, dialect: Dialect) -> bytes | None:
        """To bytes."""
        return None if value is None else np.ascontiguousarray(value, dtype=self.numbers).tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> NDArray[Any] | None:
        """From bytes."""
        return None if value is None else np.frombuffer(value, dtype=self.numbers)

    def compare_values(self, x: Any, y: Any) -> bool:
        """Whether an assigned array changes the row."""
        return x is y or (x is not None and y is not None and np.array_equal(x, y))


class FloatRow(_Numbers):
    """A float32 vector."""

    cache_ok = True
    numbers = "<f4"


class TermRow(_Numbers):
    """The hashed terms of a text, uint32."""

    cache_ok = True
    numbers = "<u4"


HIGHEST_FIRST_REVISION = 2**30
"""Leaves as much again to count on from."""
LARGEST_ID = 2**63 - 1
"""Of a numbered row; databases refuse to compare with more."""
# SQLite only numbers rows by itself in a column declared INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")
Document = JSON().with_variant(JSONB, "postgresql")


def now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


def new_id() -> str:
    """A fresh unguessable id."""
    return uuid4().hex


def new_revision() -> int:
    """Where a bond's `memory_revision` begins: no bank of a user who was erased fits the one who comes after."""
    return secrets.randbelow(HIGHEST_FIRST_REVISION)


class Base(DeclarativeBase):
    """Tables; constraint names are spelled out so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: Moment,
        Floats: FloatRow,
        Terms: TermRow,
        dict[str, Any]: Document,
        list[Any]: Document,
    }


class ApiKey(Base):
    """A key belongs to an owner; only its hash is kept."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    admin: Mapped[bool] = mapped_column(default=False)
    # None: the server's setting; 0: no limit.
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    streams: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]


class Character(Base):
    """A character as it is now. `live_slug` is `owner/slug` until deletion, so an owner's live slugs are unique."""

    __tablename__ = "characters"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100), index=True)
    slug: Mapped[str] = mapped_column(String(100), index=True)
    live_slug: Mapped[str | None] = mapped_column(String(201), unique=True)
    revision: Mapped[int] = mapped_column(default=1)
    lines_revision: Mapped[int] = mapped_column(default=0)
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


class CharacterRevision(Base):
    """What a character was at each revision."""

    __tablename__ = "character_revisions"
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class LineImport(Base):
    """One upload of past lines and how it went."""

    __tablename__ = "line_imports"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    filename: Mapped[str] = mapped_column(String(255), default="")
    turns: Mapped[int]
    units: Mapped[int]
    duplicates: Mapped[int]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Line(Base):
    """A unit of the character's past dialogue: what was said before, and the character's answer.

    `key` is the text that is embedded, speakers anonymised and the answer left out. `vector`, `emotion`, `terms` and
    `encoder` (how the row was indexed, `Services.recipe`) are null until that has been done. `tagger` is what heard the
    emotion (`Services.tagger`).
    """

    __tablename__ = "lines"
    __table_args__ = (UniqueConstraint("character_id", "digest", name="uq_lines_character_digest"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    import_id: Mapped[str | None] = mapped_column(ForeignKey("line_imports.id", ondelete="SET NULL"), index=True)
    dialogue: Mapped[list[Any]]
    key: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str | None] = mapped_column(String(16))
    encoder: Mapped[str | None] = mapped_column(String(200), index=True)
    vector: Mapped[Floats | None]
    emotion: Mapped[Floats | None]
    tagger: Mapped[str | None] = mapped_column(String(100))
    terms: Mapped[Terms | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class LoreEntry(Base):
    """One world-info entry of a character; `document` holds the fields of `app.lore.book.Entry`."""

    __tablename__ = "lore_entries"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    place: Mapped[int]
    document: Mapped[dict[str, Any]]


class Session(Base):
    """A conversation of one user with one character: a tree of messages and the leaf that is current.

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
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


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
    """What stands between one user and one character: the sum of what was said on current branches.

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
    updated_at: Mapped[datetime] = mapped_column(default=now)


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
    `seen_at` when its process last wrote, `cancel` the wish of some process that it ends.
    """

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_owner", "owner", "created_at"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    user: Mapped[str] = mapped_column(String(200))
    session_id: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
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
    """A write that named itself by an `Idempotency-Key`, and its answer once there is one: `status` null until then."""

    __tablename__ = "keyed_calls"
    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    headers: Mapped[list[Any] | None]
    body: Mapped[bytes | None]
    turn_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    seen_at: Mapped[datetime] = mapped_column(default=now)
