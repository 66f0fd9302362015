"""who judges an exchange

Revision: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("bond_events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index(op.f("ix_bond_events_kind"), ["kind"])


def downgrade() -> None:
    with op.batch_alter_table("bond_events", schema=None) as batch_op:
        batch_op.drop_index(op.f("ix_bond_events_kind"))
        batch_op.drop_column("claimed_at")
