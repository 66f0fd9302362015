"""Characters, and what belongs to one: past lines and lore."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.columns import Base, BigId, Floats, Terms, new_id, now


class Character(Base):
    """A character as it is now. `live_slug` is `owner/slug` until deletion, so an owner's live slugs are unique.

    Of the kind `group` it is several, see `Group`: what users, sessions and revisions hang on is the same for both.
    """

    __tablename__ = "characters"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(100), index=True)
    slug: Mapped[str] = mapped_column(String(100), index=True)
    kind: Mapped[str] = mapped_column(String(16), default="character", server_default="character")
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
    """One world-info entry of a character; `document` holds the fields of `app.lore.entry.Entry`."""

    __tablename__ = "lore_entries"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    place: Mapped[int]
    document: Mapped[dict[str, Any]]


class CharacterCard(Base):
    """The card that a character was imported from: the file as it came, and what was read of it.

    `data` and `outer` are those of `app.characters.card.Card`; an export is made of them and of what has been changed
    since.
    """

    __tablename__ = "character_cards"
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), primary_key=True)
    filename: Mapped[str] = mapped_column(String(255), default="")
    carrier: Mapped[str] = mapped_column(String(16))
    form: Mapped[str] = mapped_column(String(16))
    # Megabytes of picture, which only an export needs.
    original: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    digest: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]
    outer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
