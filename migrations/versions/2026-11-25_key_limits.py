"""limits of a key

Revision: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = ("requests_per_minute", "tokens_per_minute", "streams")


def upgrade() -> None:
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        for name in COLUMNS:
            batch_op.add_column(sa.Column(name, sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        for name in reversed(COLUMNS):
            batch_op.drop_column(name)
