"""How many leases of an operation were put back: a hand-over or a pause is no retry.

The column has a default: an older version runs beside it and need not know. What it puts back counts as a retry.

Revision: 0021
"""

import sqlalchemy as sa

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("put_backs", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("operations", "put_backs")
