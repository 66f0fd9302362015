"""groups, their members, who spoke and who heard it

Revision: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("characters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=16), server_default="character", nullable=False))
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("speaker_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("audience", DOCUMENT, nullable=True))
    with op.batch_alter_table("turns", schema=None) as batch_op:
        batch_op.add_column(sa.Column("speaker", sa.String(length=100), nullable=True))
    op.create_table(
        "groups",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("turn_order", sa.String(length=16), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["characters.id"], name=op.f("fk_groups_id_characters"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(length=32), nullable=False),
        sa.Column("character_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("talkativeness", sa.Double(), nullable=False),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["character_id"],
            ["characters.id"],
            name=op.f("fk_group_members_character_id_characters"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_group_members_group_id_groups"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "character_id", name=op.f("pk_group_members")),
    )
    op.create_index(op.f("ix_group_members_character_id"), "group_members", ["character_id"])


def downgrade() -> None:
    op.drop_table("group_members")
    op.drop_table("groups")
    # An older server would take a group for a character, and its sessions for talks with one.
    groups = "(SELECT id FROM characters WHERE kind = 'group')"
    for table in ("messages", "traces"):
        op.execute(f"DELETE FROM {table} WHERE session_id IN (SELECT id FROM sessions WHERE character_id IN {groups})")
    for table in ("sessions", "bonds", "character_revisions"):
        op.execute(f"DELETE FROM {table} WHERE character_id IN {groups}")
    op.execute("DELETE FROM characters WHERE kind = 'group'")
    with op.batch_alter_table("turns", schema=None) as batch_op:
        batch_op.drop_column("speaker")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_column("audience")
        batch_op.drop_column("speaker_id")
    with op.batch_alter_table("characters", schema=None) as batch_op:
        batch_op.drop_column("kind")
