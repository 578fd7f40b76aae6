"""What happened to models, as messages to the receiver of webhooks.

A table. An older version runs beside it and need not know: what it does is not told.

Revision: 0019
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("due_at", Timestamp(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", Timestamp(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    undelivered = sa.text("delivered_at IS NULL")
    op.create_index("ix_webhooks_due", "webhooks", ["due_at"], postgresql_where=undelivered, sqlite_where=undelivered)
    op.create_index(op.f("ix_webhooks_created_at"), "webhooks", ["created_at"])


def downgrade() -> None:
    op.drop_table("webhooks")
