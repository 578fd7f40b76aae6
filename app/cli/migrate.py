"""`modeldepot migrate`, which `up` does at each start. Only these import Alembic."""

import time

import click
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from app import telemetry
from app.cli.settings import CannotGoOn, settings_of
from app.client.commands.options import epilog
from app.db.errors import DatabaseUnreachable, translated
from app.db.migrate import upgrade
from app.db.revisions import revisions
from app.terminal import say

_DATABASE_WITHIN = 30.0
"""Seconds that a database may take to come up."""


@click.command(epilog=epilog("modeldepot migrate"))
def migrate() -> None:
    """Bring the database to the shape that this version expects. Run it before the new version starts.

    It may run again, or twice at a time, and waits up to 30 seconds for a database that is still starting. A newer
    version's database is left as it is, if this version works with it.
    """
    settings = settings_of({})
    telemetry.configure(settings.log_format)
    revision, these = migrated(settings.database_url), revisions()
    newer = f", newer than this version's {these.head}, which works with it: nothing to do"
    say(f"the database is at revision {revision}{'' if revision in these.known else newer}")


def migrated(address: str) -> str:
    """Migrate the database and return its revision. Wait for a PostgreSQL that isn't up yet."""
    shown = make_url(address).render_as_string(hide_password=True)
    deadline = time.monotonic() + (0 if address.startswith("sqlite") else _DATABASE_WITHIN)
    told = False
    while True:
        try:
            with translated():
                return upgrade(address)
        except DatabaseUnreachable as error:
            reason = _first_line(error.__cause__)
            if error.is_lasting or time.monotonic() > deadline:
                raise CannotGoOn(f"can't migrate the database at {shown}: {reason}") from None
        except (SQLAlchemyError, CommandError) as error:
            raise CannotGoOn(f"can't migrate the database at {shown}: {_first_line(error)}") from None
        if not told:
            told = True
            say(f"waiting for the database at {shown}: {reason}", err=True)
        time.sleep(0.5)


def _first_line(error: BaseException | None) -> str:
    """Return a driver's message, without the statement."""
    return telemetry.redact(str(getattr(error, "orig", None) or error).strip().split("\n")[0])
