"""A lease tells when it was last renewed: one of the future was given by a clock that has been put back since.

It may be null: an older version runs beside it and need not know.

Revision: 0008
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("renewed_at", Timestamp(), nullable=True))


def downgrade() -> None:
    op.drop_column("operations", "renewed_at")
