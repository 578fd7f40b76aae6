"""Brings a database to the shape that this version of the code expects."""

from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command

_IN_THE_PACKAGE = Path(__file__).parent / "migrations"
_IN_THE_SOURCES = Path(__file__).parents[2] / "alembic"


def configuration(address: str) -> Config:
    """Alembic's configuration for the database at `address`."""
    folder = _IN_THE_PACKAGE if _IN_THE_PACKAGE.is_dir() else _IN_THE_SOURCES
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", address.replace("%", "%%"))
    return config


@dataclass(frozen=True, slots=True)
class Revisions:
    """The database's shapes that this version of the code knows."""

    head: str
    known: frozenset[str]

    def judge(self, found: str | None) -> str:
        """What to do about a database of revision `found`; nothing, if it has all that this version expects.

        A revision that is not known is a newer version's, whose migrations keep working what is older.
        """
        if found == self.head or (found and found not in self.known):
            return ""
        shape = f"is at revision {found}" if found else "has no tables"
        return f"The database {shape} and this version expects {self.head}. Run `modeldepot migrate`."


def revisions() -> Revisions:
    script = ScriptDirectory.from_config(configuration("sqlite://"))
    return Revisions(str(script.get_current_head()), frozenset(each.revision for each in script.walk_revisions()))


def upgrade(address: str) -> str:
    """Upgrade to the newest revision, whose name is returned. Must not be called inside an event loop."""
    config = configuration(address)
    command.upgrade(config, "head")
    return str(ScriptDirectory.from_config(config).get_current_head())
