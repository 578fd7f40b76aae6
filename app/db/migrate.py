"""Brings a database to the shape that this version of the code expects."""

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


def upgrade(address: str) -> str:
    """Upgrade to the newest revision, whose name is returned. Must not be called inside an event loop."""
    config = configuration(address)
    command.upgrade(config, "head")
    return str(ScriptDirectory.from_config(config).get_current_head())
