"""An index that tells who waits for a content.

Revision: 0013
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_waits_sha256"), "waits", ["sha256"])


def downgrade() -> None:
    op.drop_index(op.f("ix_waits_sha256"), "waits")
