"""The first tables.

Revision: 0001
"""

import sqlalchemy as sa

from alembic import op
from app.db.clock import Timestamp

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.String(length=250), nullable=False),
        sa.Column("include", sa.JSON(), nullable=False),
        sa.Column("exclude", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=True),
        sa.Column("model_size", sa.BigInteger(), nullable=True),
        sa.Column("downloaded", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("rate", sa.BigInteger(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("reason", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("fingerprint", name="uq_models_fingerprint"),
    )
    op.create_index("ix_models_created_at_id", "models", ["created_at", "id"])
    op.create_index("ix_models_name", "models", ["name"])

    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("command", sa.String(length=20), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("sealed_token", sa.Text(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("ended_at", Timestamp(), nullable=True),
        sa.Column("deadline_at", Timestamp(), nullable=False),
        sa.Column("due_at", Timestamp(), nullable=False),
        sa.Column("lease_owner", sa.String(length=200), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name=op.f("ck_operations_ended")),
        sa.CheckConstraint("state = 'pending' OR sealed_token IS NULL", name=op.f("ck_operations_token_wiped")),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
    )
    op.create_index(
        "ix_operations_due",
        "operations",
        ["due_at"],
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_operations_ended", "operations", ["ended_at"])
    op.create_index("ix_operations_history", "operations", ["resource_id", "created_at"])
    op.create_index(
        "ix_operations_leased",
        "operations",
        ["resource_id"],
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
        sqlite_where=sa.text("lease_owner IS NOT NULL"),
    )
    op.create_index(
        "uq_operations_active",
        "operations",
        ["resource_id"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )

    op.create_table(
        "deployments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=True),
        sa.Column("gpu_count", sa.BigInteger(), nullable=True),
        sa.Column("replicas", sa.BigInteger(), nullable=True),
        sa.Column("deployment_url", sa.Text(), nullable=True),
        sa.Column("inference_engine_version", sa.Text(), nullable=True),
        sa.Column("inference_engine_parameters", sa.JSON(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_deployments_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )
    op.create_index("ix_deployments_created_at_id", "deployments", ["created_at", "id"])
    op.create_index("ix_deployments_model_id", "deployments", ["model_id"])

    op.create_table(
        "files",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_files_model_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "path", name="pk_files"),
    )
    op.create_index("ix_files_sha256", "files", ["sha256"])


def downgrade() -> None:
    for table in ("files", "deployments", "operations", "models"):
        op.drop_table(table)
