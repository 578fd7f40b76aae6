"""The audit and the operations keep the names of what they are about; the console's sessions can be ended.

What is new may be null or is a table of its own: an older version runs beside it and need not know.

Revision: 0007
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("resource_name", sa.Text(), nullable=True))
    op.add_column("audit", sa.Column("key_name", sa.String(length=200), nullable=True))
    op.add_column("audit", sa.Column("resource_name", sa.Text(), nullable=True))
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_key_id", "sessions", ["key_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def downgrade() -> None:
    op.drop_table("sessions")
    for column in ("resource_name", "key_name"):
        op.drop_column("audit", column)
    op.drop_column("operations", "resource_name")
