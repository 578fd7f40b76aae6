"""${message}

Revision: ${up_revision}
Follows: ${down_revision | comma,n}
"""

import sqlalchemy as sa

from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

# Older versions run beside this one, and are gone back to: add, and take away in a later release. Where their code does
# not work with this shape any more, say so, and the reverse in the downgrade:
#   op.execute("UPDATE compatibility SET oldest = '${up_revision}'")


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
