"""Migrations: upgrade a database to the revision that this version of the code expects."""

from alembic.config import Config
from alembic.util import CommandError

from alembic import command
from app.db.revisions import MIGRATIONS, revisions


def configuration(address: str) -> Config:
    """Return Alembic's configuration for the database at `address`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", address.replace("%", "%%"))
    return config


class DatabaseIsNewer(CommandError):
    """A newer version migrated the database to `revision`, which this version does not know.

    The message says what to do, and is empty if this version works with it.
    """

    def __init__(self, revision: str, problem: str) -> None:
        super().__init__(problem)
        self.revision = revision


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
    return revisions().head
