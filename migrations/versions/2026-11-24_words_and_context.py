"""words and context

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("lines", schema=None) as batch_op:
        batch_op.add_column(sa.Column("terms", sa.LargeBinary(), nullable=True))
    with op.batch_alter_table("memories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("context", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("terms", sa.LargeBinary(), nullable=True))
        batch_op.add_column(
            sa.Column("previous_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_memories_previous_id_memories"), "memories", ["previous_id"], ["id"], ondelete="SET NULL"
        )
        batch_op.create_index(batch_op.f("ix_memories_previous_id"), ["previous_id"], unique=False)
    # What was said before an exchange: the user's message above the reply that its own message answers.
    op.execute(
        "UPDATE memories SET previous_id = (SELECT max(p.id) FROM memories p JOIN messages a ON a.parent_id = p.message_id "
        "JOIN messages m ON m.parent_id = a.id WHERE m.id = memories.message_id AND p.user = memories.user)"
    )


def downgrade() -> None:
    # The vectors stay good; after another upgrade the rows must wait for words and contexts again.
    for table in ("lines", "memories"):
        op.execute(f"UPDATE {table} SET encoder = replace(encoder, '+terms1', '')")
    with op.batch_alter_table("memories", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_memories_previous_id"))
        batch_op.drop_constraint(batch_op.f("fk_memories_previous_id_memories"), type_="foreignkey")
        batch_op.drop_column("previous_id")
        batch_op.drop_column("terms")
        batch_op.drop_column("context")
    with op.batch_alter_table("lines", schema=None) as batch_op:
        batch_op.drop_column("terms")
