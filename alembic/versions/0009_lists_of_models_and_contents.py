"""Models are listed by status, the newest first, and contents added up, by an index alone.

Indexes only: an older version runs beside it and does not notice.

Revision: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_models_status_created_at_id", "models", ["status", "created_at", "id"])
    op.create_index("ix_files_sha256_model_id_size", "files", ["sha256", "model_id", "size"])
    op.drop_index("ix_files_sha256", "files")


def downgrade() -> None:
    op.create_index("ix_files_sha256", "files", ["sha256"])
    op.drop_index("ix_files_sha256_model_id_size", "files")
    op.drop_index("ix_models_status_created_at_id", "models")
