"""What was fetched in the best minute of an hour: an hour's mean hides what a short download reached.

Null for minutes, and for hours that an older version folded.

Revision: 0022
"""

import sqlalchemy as sa

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("samples", sa.Column("best_minute", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("samples", "best_minute")
