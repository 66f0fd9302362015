"""who heard

Revision: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nobody knows what heard the rows that are there: they are heard anew in the background.
    for table in ("lines", "memories"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column("tagger", sa.String(length=100), nullable=True))


def downgrade() -> None:
    for table in ("memories", "lines"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("tagger")
