"""the conversation tree: what is on the current branch counts

Revision: 0003
Revises: 0002
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BRANCHES = (
    "WITH RECURSIVE branch(id, parent_id) AS (SELECT m.id, m.parent_id FROM messages m JOIN sessions s ON s.leaf_id = m.id "
    "WHERE s.deleted_at IS NULL UNION ALL SELECT m.id, m.parent_id FROM messages m JOIN branch b ON m.id = b.parent_id) "
)
BATCH = 500
MOMENT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

messages = sa.table(
    "messages", sa.column("id"), sa.column("parent_id"), sa.column("role"), sa.column("text"), sa.column("created_at", MOMENT)
)
memories = sa.table(
    "memories",
    sa.column("id", sa.BigInteger),
    sa.column("message_id"),
    sa.column("reply_id"),
    sa.column("text"),
    sa.column("created_at", MOMENT),
)
bonds = sa.table(
    "bonds",
    sa.column("id", sa.BigInteger),
    sa.column("affinity"),
    sa.column("stage"),
    sa.column("mood", sa.LargeBinary),
    sa.column("turns"),
    sa.column("base", DOCUMENT),
)


def upgrade() -> None:
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("origin_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("active", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("emotion", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("name", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("deleted_at", MOMENT, nullable=True))
        batch_op.create_index(batch_op.f("ix_messages_origin_id"), ["origin_id"], unique=False)
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("note_depth", sa.Integer(), nullable=False, server_default="4"))
        batch_op.add_column(sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("memories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reply_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("retired", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_index(batch_op.f("ix_memories_reply_id"), ["reply_id"], unique=False)
        # An original may be gone for good while a copy of it is current.
        batch_op.drop_constraint(batch_op.f("fk_memories_message_id_messages"), type_="foreignkey")
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("base", DOCUMENT, nullable=True))
    op.execute(BRANCHES + "UPDATE messages SET active = FALSE WHERE id NOT IN (SELECT id FROM branch)")
    op.execute(
        "UPDATE messages SET emotion = (SELECT m.emotion FROM memories m WHERE m.message_id = messages.id "
        "ORDER BY m.id LIMIT 1) WHERE role = 'user'"
    )
    _name_replies()
    op.execute(
        "UPDATE memories SET retired = TRUE WHERE message_id IN (SELECT id FROM messages WHERE NOT active) "
        "OR reply_id IN (SELECT id FROM messages WHERE NOT active)"
    )
    _keep_bonds()


def _name_replies() -> None:
    """The reply of each remembered exchange: the answer to its message that it quotes, else the one stored next."""
    db = op.get_bind()
    last = 0
    while True:
        query = sa.select(memories).where(memories.c.id > last, memories.c.message_id.is_not(None))
        exchanges = db.execute(query.order_by(memories.c.id).limit(BATCH)).all()
        if not exchanges:
            return
        last = exchanges[-1].id
        asked = sa.select(messages).where(
            messages.c.parent_id.in_({row.message_id for row in exchanges}), messages.c.role == "assistant"
        )
        replies: dict[str, list[sa.Row[*tuple[Any, ...]]]] = {}
        for reply in db.execute(asked.order_by(messages.c.created_at, messages.c.id)):
            replies.setdefault(reply.parent_id, []).append(reply)
        for row in exchanges:
            after = [reply for reply in replies.get(row.message_id, []) if reply.created_at >= row.created_at]
            quoted = [reply for reply in replies.get(row.message_id, []) if row.text.endswith(reply.text.strip())]
            both = [reply for reply in after if reply in quoted]
            found = both[:1] or quoted[:1] or after[:1]
            if found:
                db.execute(memories.update().where(memories.c.id == row.id).values(reply_id=found[0].id))


def _keep_bonds() -> None:
    """What stands stays as it is; from now on it is the sum of what is said after this moment."""
    db = op.get_bind()
    at = datetime.now(UTC).isoformat()
    for row in db.execute(sa.select(bonds).where(bonds.c.turns > 0)).all():
        mood = [] if row.mood is None else np.frombuffer(row.mood, "<f4").tolist()
        base = {"affinity": row.affinity, "stage": row.stage, "mood": mood, "turns": row.turns, "at": at}
        db.execute(bonds.update().where(bonds.c.id == row.id).values(base=base))


def downgrade() -> None:
    # What no branch holds was recalled before; nothing but the marks is lost.
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.drop_column("base")
    op.execute("UPDATE memories SET message_id = NULL WHERE message_id NOT IN (SELECT id FROM messages)")
    with op.batch_alter_table("memories", schema=None) as batch_op:
        batch_op.create_foreign_key(
            batch_op.f("fk_memories_message_id_messages"), "messages", ["message_id"], ["id"], ondelete="SET NULL"
        )
        batch_op.drop_index(batch_op.f("ix_memories_reply_id"))
        batch_op.drop_column("retired")
        batch_op.drop_column("reply_id")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        for column in ("pinned", "note_depth", "note", "revision"):
            batch_op.drop_column(column)
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_messages_origin_id"))
        for column in ("deleted_at", "name", "emotion", "active", "origin_id"):
            batch_op.drop_column(column)
