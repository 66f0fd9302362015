"""what happened

Revision: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # No rules yet: each bond is summed up anew by those of its character when it is next read.
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("variables", DOCUMENT, nullable=True))
        batch_op.add_column(sa.Column("rules", sa.String(length=16), nullable=False, server_default=""))
    op.create_table(
        "bond_events",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("user", sa.String(length=200), nullable=False),
        sa.Column("character_id", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("numbers", DOCUMENT, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.id"], name=op.f("fk_bond_events_character_id_characters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bond_events")),
    )
    op.create_index("ix_bond_events_scope", "bond_events", ["owner", "user", "character_id"])
    op.create_index(op.f("ix_bond_events_character_id"), "bond_events", ["character_id"])
    op.create_index(op.f("ix_bond_events_message_id"), "bond_events", ["message_id"])


def downgrade() -> None:
    op.drop_table("bond_events")
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.drop_column("rules")
        batch_op.drop_column("variables")
