"""lorebooks

Revision: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "lorebooks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("user", sa.String(length=200), nullable=True),
        sa.Column("character_id", sa.String(length=32), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("settings", DOCUMENT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"], ["characters.id"], name=op.f("fk_lorebooks_character_id_characters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lorebooks")),
    )
    op.create_index(op.f("ix_lorebooks_owner"), "lorebooks", ["owner"])
    op.create_index(op.f("ix_lorebooks_character_id"), "lorebooks", ["character_id"])
    op.create_table(
        "lorebook_entries",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("lorebook_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["lorebook_id"], ["lorebooks.id"], name=op.f("fk_lorebook_entries_lorebook_id_lorebooks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lorebook_entries")),
    )
    op.create_index(op.f("ix_lorebook_entries_lorebook_id"), "lorebook_entries", ["lorebook_id"])
    op.create_table(
        "lore_timers",
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_lore_timers_message_id_messages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_lore_timers")),
    )


def downgrade() -> None:
    op.drop_table("lore_timers")
    op.drop_table("lorebook_entries")
    op.drop_table("lorebooks")
