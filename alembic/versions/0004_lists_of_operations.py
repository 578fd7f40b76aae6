"""Operations are listed by state and command, the newest first; and the audit tells which key was made or revoked.

What is new may be null or is an index: an older version runs beside it and need not know.

Revision: 0004
"""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_operations_listed", "operations", ["state", "command", "created_at", "id"])
    op.add_column("audit", sa.Column("other_key_id", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("audit", "other_key_id")
    op.drop_index("ix_operations_listed", "operations")
