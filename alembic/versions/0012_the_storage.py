"""The database knows its storage, and what housekeeping last said of it.

A table of one row. An older version runs beside it and need not know.

Revision: 0012
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "storage",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.Uuid(), nullable=True),
        sa.Column("tidied_at", Timestamp(), nullable=True),
        sa.Column("complaint", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage")),
    )


def downgrade() -> None:
    op.drop_table("storage")
