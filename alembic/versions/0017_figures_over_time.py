"""What was fetched and how full the storage was, minute by minute; and what each download had to fetch, and since when.

A table and columns that may be left out: an older version runs beside it and need not know.

Revision: 0017
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("at", Timestamp(), nullable=False),
        sa.Column("fetched", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.Column("free", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seconds", "at", name="pk_samples"),
    )
    op.add_column("operations", sa.Column("begun_at", Timestamp(), nullable=True))
    op.add_column("operations", sa.Column("to_fetch", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("operations", "to_fetch")
    op.drop_column("operations", "begun_at")
    op.drop_table("samples")
