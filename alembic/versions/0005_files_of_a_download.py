"""A model tells how many of its files are here, as well as how many bytes.

Both may be null: an older version runs beside it and need not know.

Revision: 0005
"""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("files", sa.BigInteger(), nullable=True))
    op.add_column("models", sa.Column("files_verified", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "files_verified")
    op.drop_column("models", "files")
