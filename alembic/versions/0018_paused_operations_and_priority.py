"""Operations may be paused, and models have a priority, which moves their operations in the queue.

All columns have defaults: an older version runs beside it and need not know. It claims what is paused, and its own
operations come first; `ix_operations_due` is the index of its claims.

Revision: 0018
"""

import sqlalchemy as sa

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("priority", sa.BigInteger(), server_default="0", nullable=False))
    for table in ("models", "operations"):
        op.add_column(table, sa.Column("paused", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("operations", sa.Column("place", sa.Float(), server_default="0", nullable=False))
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_operations_queue", "operations", ["place", "due_at"], postgresql_where=pending, sqlite_where=pending
    )


def downgrade() -> None:
    op.drop_index("ix_operations_queue", "operations")
    op.drop_column("operations", "place")
    for table in ("operations", "models"):
        op.drop_column(table, "paused")
    op.drop_column("models", "priority")
