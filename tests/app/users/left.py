"""Whether anything is left of a user, by a look into every column of every table."""

from __future__ import annotations

import json

from sqlalchemy import LargeBinary, cast, select, type_coerce
from sqlalchemy import Text as Characters

from app.backup.values import kind_of
from app.services import Services
from app.tables import Base

WHO = "ana-4711"
SECRETS = ("zanzibar", "桑给巴尔", WHO)


async def found_in(services: Services) -> set[str]:
    """The tables that hold anything of the user's."""
    where = set()
    async with services.db.read() as db:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                raw = kind_of(column.type) == "bytes"
                shown = type_coerce(column, LargeBinary) if raw else cast(column, Characters)
                for value in await db.scalars(select(shown)):
                    told = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                    if any(secret in told or escaped(secret) in told for secret in SECRETS):
                        where.add(table.name)
    return where


def escaped(secret: str) -> str:
    """As JSON may have it."""
    return json.dumps(secret)[1:-1]
