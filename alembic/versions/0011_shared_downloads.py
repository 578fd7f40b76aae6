"""Contents that downloads fetch, and those that they leave to another one.

Two tables. An older version runs beside it and need not know: it fetches what it would have waited for.

Revision: 0011
"""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fetches",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(1024), nullable=False),
        sa.Column("arrived", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_fetches_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_fetches")),
    )
    op.create_index(op.f("ix_fetches_operation_id"), "fetches", ["operation_id"])
    op.create_table(
        "waits",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_waits_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "sha256", name=op.f("pk_waits")),
    )


def downgrade() -> None:
    op.drop_table("waits")
    op.drop_table("fetches")
