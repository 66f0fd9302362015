"""what is done is not done again

Revision: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nobody knows of calls that were never answered whether they were done: as until now, they may be made again.
    with op.batch_alter_table("keyed_calls", schema=None) as batch_op:
        batch_op.add_column(sa.Column("written", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("keyed_calls", schema=None) as batch_op:
        batch_op.drop_column("written")
