"""The database says which code works with it, so that an older version need not know its newer revision.

A migration after which older code does not work any more sets `oldest` to its own revision, and sets it back in its
downgrade; all others leave it alone.

Revision: 0006
"""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = op.create_table(
        "compatibility",
        sa.Column("oldest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name="pk_compatibility"),
    )
    # Older code works with it, but does not look here.
    op.bulk_insert(table, [{"oldest": revision}])


def downgrade() -> None:
    op.drop_table("compatibility")
