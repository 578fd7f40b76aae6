"""A deployment's name is its own: of several with one name the oldest keeps it, and of a long name the first part stays.

Revision: 0010
"""

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LONGEST = 250
"""Characters."""


def upgrade() -> None:
    connection = op.get_bind()
    deployments = sa.table(
        "deployments", sa.column("id", sa.Uuid()), sa.column("name", sa.Text()), sa.column("created_at")
    )
    query = sa.select(deployments.c.id, deployments.c.name).order_by(deployments.c.created_at, deployments.c.id)
    taken: set[str] = set()
    others = []
    for row in connection.execute(query).all():
        if len(row.name) <= _LONGEST and row.name not in taken:
            taken.add(row.name)
        else:
            others.append(row)
    for row in others:
        name = _free(row.name, row.id.hex, taken)
        taken.add(name)
        connection.execute(deployments.update().where(deployments.c.id == row.id).values(name=name))
    op.create_index("uq_deployments_name", "deployments", ["name"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_deployments_name", "deployments")


def _free(name: str, digits: str, taken: set[str]) -> str:
    """The beginning of `name` with as many of an id's `digits` as make it one that nobody has."""
    candidates = (f"{name[: _LONGEST - count - 1]}-{digits[:count]}" for count in range(8, len(digits) + 1))
    return next(candidate for candidate in candidates if candidate not in taken)
