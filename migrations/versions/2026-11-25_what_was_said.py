"""messages are known by what they say, too, and by a normal form that more front ends keep

Revision: 0006
Revises: 0005
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As app.sessions.normal was when this was written.
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0e\ufe0f\ufeff]")
WIDE = "[\u2018-\u201d\u2026\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
BESIDE_WIDE = re.compile(f"(?<={WIDE}) | (?={WIDE})")

messages = sa.table(
    "messages",
    *map(sa.column, ("id", "session_id", "parent_id", "role", "text", "path_hash", "said_hash")),
)


def upgrade() -> None:
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("said_hash", sa.String(length=64), nullable=False, server_default=""))
        batch_op.create_index("ix_messages_said_hash", ["said_hash", "session_id"], unique=False)
    _rehash(_normal)
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.alter_column("said_hash", server_default=None)


def downgrade() -> None:
    _rehash(lambda text: " ".join(text.split()))
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index("ix_messages_said_hash")
        batch_op.drop_column("said_hash")


def _rehash(normal: Callable[[str], str]) -> None:
    """Hash every conversation anew, each from its first messages down."""
    db = op.get_bind()
    columns = [column for column in messages.c if column.name not in ("path_hash", "said_hash")]
    for session_id in db.execute(sa.select(messages.c.session_id).distinct()).scalars().all():
        rows = {row.id: row for row in db.execute(sa.select(*columns).where(messages.c.session_id == session_id))}
        below: dict[str | None, list[str]] = {}
        for row in rows.values():
            below.setdefault(row.parent_id if row.parent_id in rows else None, []).append(row.id)
        waiting = [(key, "") for key in below.get(None, [])]
        hashed = []
        while waiting:
            key, above = waiting.pop()
            text = normal(rows[key].text)
            path = _hash(above, rows[key].role, text)
            hashed.append({"key": key, "path": path, "said": _hash("", rows[key].role, text)})
            waiting += [(child, path) for child in below.get(key, [])]
        if hashed:
            values: dict[str, Any] = {"path_hash": sa.bindparam("path"), "said_hash": sa.bindparam("said")}
            db.execute(messages.update().where(messages.c.id == sa.bindparam("key")).values(values), hashed)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _normal(text: str) -> str:
    text = " ".join(INVISIBLE.sub("", text).split())
    return unicodedata.normalize("NFC", BESIDE_WIDE.sub("", text))
