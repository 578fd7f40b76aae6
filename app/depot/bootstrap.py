"""Before the API starts: creates the key that must exist, and checks that the keys' secrets can be opened."""

import asyncio
from dataclasses import dataclass, field

import structlog

from app.db.session import open_database
from app.sealing import Sealer
from app.services import audit, keys

_CHANGES = {keys.Kept.MADE: "create-key", keys.Kept.REPLACED: "replace-key-secret"}
"""Their names in the audit."""

log = structlog.get_logger()


class CannotAdmit(Exception):
    """No API key would work. The message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class OwnKey:
    """An operator's key that is stored outside, at `place`, and must be in the database."""

    key_id: str
    secret: str = field(repr=False)
    name: str
    place: str


def admit(database_url: str, sealer: Sealer, own: OwnKey | None) -> bool:
    """Create `own` if it is missing; return whether it was. Raises `CannotAdmit` or `DatabaseUnreachable`."""
    return asyncio.run(_admit(database_url, sealer, own))


async def _admit(database_url: str, sealer: Sealer, own: OwnKey | None) -> bool:
    database = open_database(database_url)
    try:
        async with database.read() as connection:
            closed, count = await keys.unopenable(connection, sealer)
        if closed and len(closed) == count:
            raise CannotAdmit(
                f"DEPOT_SECRET_KEY opens the secret of none of the {count} API keys in the database. Give the secret key "
                "that sealed them; several may stand there, comma-separated. If it is lost, so are they: "
                f"`modeldepot key revoke` each ({', '.join(closed[:10])}), then start again and make new ones"
            )
        if closed:
            log.warning("DEPOT_SECRET_KEY doesn't open the secrets of some API keys: they won't work", keys=closed)
        if own is None:
            return False
        async with database.begin() as connection:
            kept = await keys.keep(connection, sealer, own.key_id, own.secret, name=own.name)
            if action := _CHANGES.get(kept):
                await audit.accept_for_key(connection, audit.by_shell(action), own.key_id, own.name)
    finally:
        await database.close()
    if kept is keys.Kept.REVOKED:
        log.warning("this API key is revoked, and stays so: replace it where it is kept", key=own.key_id, at=own.place)
    return kept is keys.Kept.MADE
