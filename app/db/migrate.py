"""Migrations: upgrade a database to the revision that this version of the code expects."""

from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, select

from alembic import command
from app.db.tables import CompatibilityRow

_IN_THE_PACKAGE = Path(__file__).parent / "migrations"
_IN_THE_SOURCES = Path(__file__).parents[2] / "alembic"


def configuration(address: str) -> Config:
    """Return Alembic's configuration for the database at `address`."""
    folder = _IN_THE_PACKAGE if _IN_THE_PACKAGE.is_dir() else _IN_THE_SOURCES
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", address.replace("%", "%%"))
    return config


class DatabaseIsNewer(CommandError):
    """A newer version migrated the database to `revision`, which this version does not know.

    The message says what to do, and is empty if this version works with it.
    """

    def __init__(self, revision: str, problem: str) -> None:
        super().__init__(problem)
        self.revision = revision


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
        revision = MigrationContext.configure(connection).get_current_revision()
        oldest = None
        if revision and revision not in self.known and inspect(connection).has_table(CompatibilityRow.__tablename__):
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
    script = ScriptDirectory.from_config(configuration("sqlite://"))
    return Revisions(str(script.get_current_head()), frozenset(each.revision for each in script.walk_revisions()))


def upgrade(address: str) -> str:
    """Upgrade to the newest revision. Return the database's, newer if a newer version migrated it.

    Must not be called inside an event loop. Raises `DatabaseIsNewer` if this version does not work with it.
    """
    config = configuration(address)
    try:
        command.upgrade(config, "head")
    except DatabaseIsNewer as newer:
        if str(newer):
            raise
        return newer.revision
    return str(ScriptDirectory.from_config(config).get_current_head())
