"""The git blob ids of files that are not in LFS: the Hub's own checksums of them, which clients know them by.

It may be null: an older version runs beside it and need not know.

Revision: 0014
"""

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("blob_id", sa.String(40), nullable=True))


def downgrade() -> None:
    op.drop_column("files", "blob_id")
