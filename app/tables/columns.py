"""What tables are made of: their base, types of columns, defaults."""

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
    Integer,
    LargeBinary,
    MetaData,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

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
