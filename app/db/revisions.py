"""The revisions of the database that this version of the code knows, and whether it works with one.

Alembic is not asked: each process of the depot has this question, and only who migrates has to import it.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from app.db.tables import CompatibilityRow

_IN_THE_PACKAGE = Path(__file__).parent / "migrations"
_IN_THE_SOURCES = Path(__file__).parents[2] / "alembic"
MIGRATIONS = _IN_THE_PACKAGE if _IN_THE_PACKAGE.is_dir() else _IN_THE_SOURCES
"""The folder of Alembic's environment. A migration's file is `versions/REVISION_name.py`; the last by name is the newest."""
_ALEMBIC_VERSION = table("alembic_version", column("version_num"))


@dataclass(frozen=True, slots=True)
class Shape:
    """A database's own data: its revision, and the oldest revision whose code works with it."""

    revision: str | None
    oldest: str | None


@dataclass(frozen=True, slots=True)
class Revisions:
    """The database revisions that this version of the code knows."""

    head: str
    known: frozenset[str]

    def shape(self, connection: Connection) -> Shape:
        """Return the database's shape. `oldest` matters, and is read, only if the revision is unknown."""
        tables, revision, oldest = inspect(connection), None, None
        if tables.has_table(_ALEMBIC_VERSION.name):
            revision = connection.execute(select(_ALEMBIC_VERSION.c.version_num)).scalar_one_or_none()
        if revision and revision not in self.known and tables.has_table(CompatibilityRow.__tablename__):
            oldest = connection.execute(select(CompatibilityRow.oldest)).scalar_one_or_none()
        return Shape(revision, oldest)

    def judge(self, found: Shape) -> str:
        """Return what to do about a database of that shape; an empty text if this version works with it."""
        if found.revision == self.head:
            return ""
        if found.revision is None or found.revision in self.known:
            shape = f"is at revision {found.revision}" if found.revision else "has no tables"
            return f"The database {shape} and this version expects {self.head}. Run `modeldepot migrate`."
        if found.oldest in self.known:
            return ""
        return (
            f"The database is at revision {found.revision}, with which this version, of revision {self.head}, does not "
            f"work: versions from revision {found.oldest or found.revision} on do. Start one of those, or restore the "
            "back-up that was made before the upgrade."
        )


def revisions() -> Revisions:
    known = [path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    return Revisions(max(known), frozenset(known))
