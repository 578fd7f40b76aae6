"""Keys that are limited to the names of models, and deployments that pulls declare and renew.

Columns that may be left out. An older version runs beside it and need not know: it can't open the secret of a limited
key, which is sealed for the key with its limit, so it refuses such a key.

Revision: 0015
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("models", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("auto_deployment", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("operations", sa.Column("model_name", sa.String(200), nullable=True))
    op.add_column("deployments", sa.Column("key_id", sa.String(64), nullable=True))
    op.add_column("deployments", sa.Column("by_pull", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("deployments", sa.Column("last_seen_at", Timestamp(), nullable=True))
    op.create_index(op.f("ix_deployments_key_id"), "deployments", ["key_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_deployments_key_id"), "deployments")
    for table, columns in (
        ("deployments", ("last_seen_at", "by_pull", "key_id")),
        ("operations", ("model_name",)),
        ("api_keys", ("auto_deployment", "models")),
    ):
        for column in columns:
            op.drop_column(table, column)
