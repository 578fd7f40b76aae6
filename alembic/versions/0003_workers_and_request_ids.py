"""Who the workers are, and which request each operation was accepted with, since when it is leased.

What is new may be null or is a table of its own: an older version runs beside it and need not know.

Revision: 0003
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("request_id", sa.String(length=128), nullable=True))
    op.add_column("operations", sa.Column("leased_at", Timestamp(), nullable=True))
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("look_interval", sa.Float(), nullable=False),
        sa.Column("started_at", Timestamp(), nullable=False),
        sa.Column("seen_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )


def downgrade() -> None:
    op.drop_table("workers")
    for column in ("leased_at", "request_id"):
        op.drop_column("operations", column)
