"""What was pulled of each model, how often, and by whom last.

Columns that may be left out: an older version runs beside it and need not know.

Revision: 0016
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("pulls", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("models", sa.Column("bytes_sent", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("models", sa.Column("last_pulled_at", Timestamp(), nullable=True))
    op.add_column("models", sa.Column("last_pulled_by", sa.String(200), nullable=True))
    op.add_column("models", sa.Column("last_pulled_with", sa.String(100), nullable=True))


def downgrade() -> None:
    for column in ("last_pulled_with", "last_pulled_by", "last_pulled_at", "bytes_sent", "pulls"):
        op.drop_column("models", column)
