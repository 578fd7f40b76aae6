"""Models know what their branch or tag is at on the Hub, and whether they were fetched to follow one.

All columns may be null: an older version runs beside it and need not know. It shows an update as a model of its commit.

Revision: 0020
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("follows", sa.String(250), nullable=True))
    op.add_column("models", sa.Column("latest", sa.String(64), nullable=True))
    op.add_column("models", sa.Column("looked_at", Timestamp(), nullable=True))


def downgrade() -> None:
    for column in ("looked_at", "latest", "follows"):
        op.drop_column("models", column)
