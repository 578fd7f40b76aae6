"""`modeldepot key …`, `secrets rotate` and `audit`: who may come in, and what they did."""

import re
from collections.abc import Sequence
from pathlib import Path

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cli_database import in_a_transaction, time
from app.cli_options import data_option, table
from app.cli_settings import CannotGoOn, settings_in
from app.domain.keys import Role
from app.sealing import Sealer
from app.services import audit as records
from app.services import keys
from app.settings import Settings, split_keys

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Duration(click.ParamType[float]):
    """Such as `90d`, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"([1-9]\d{0,8})([smhd])", str(value))
        if not found:
            self.fail("it must be a number with s, m, h or d behind it, such as 90d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.group()
def key() -> None:
    """Make, list and revoke the keys that open the API."""


@key.command("create")
@data_option
@click.option("--name", default="", metavar="TEXT", help="Whose it is, or what it is for.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.OPERATOR.value,
    show_default=True,
    help="A reader may only look; an operator may do everything.",
)
@click.option(
    "--expires", type=_Duration(), metavar="TIME", help="For how long it is valid, such as 90d. Default: for good."
)
def create_key(data: Path, name: str, role: str, expires: float | None) -> None:
    """Make a key. Its secret is shown this once."""
    settings = settings_in(data)
    sealer = _sealer(settings)

    async def work(connection: AsyncConnection) -> tuple[str, str]:
        return await keys.create(connection, sealer, name=name, role=Role(role), expires=expires)

    key_id, secret = in_a_transaction(settings, work)
    click.echo(f"key     {key_id}\nsecret  {secret}")
    click.echo(
        f"\nThe secret is not shown again.\n  SDKs   Client({key_id!r}, SECRET, url='{settings.address}/v2')\n"
        f"  curl   -H 'Authorization: Bearer {key_id}:SECRET'",
        err=True,
    )


@key.command("list")
@data_option
def list_keys(data: Path) -> None:
    """Show every key, without its secret."""
    rows = in_a_transaction(settings_in(data), keys.list_all)
    titles = ("ID", "NAME", "ROLE", "CREATED", "LAST USED", "EXPIRES", "REVOKED")
    times = ("created_at", "last_used_at", "expires_at", "revoked_at")
    lines = [(row.id, row.name or "-", row.role.value, *(time(getattr(row, name)) for name in times)) for row in rows]
    table([titles, *lines])


@key.command("revoke")
@data_option
@click.argument("key_id", metavar="ID")
def revoke_key(data: Path, key_id: str) -> None:
    """Shut a key out, within five seconds, on every machine."""

    async def work(connection: AsyncConnection) -> None:
        await keys.revoke(connection, key_id)

    in_a_transaction(settings_in(data), work)
    click.echo(f"{key_id} is revoked")


@click.group()
def secrets() -> None:
    """Look after what is sealed in the database."""


@secrets.command("rotate")
@data_option
def rotate(data: Path) -> None:
    """Seal all secrets anew, with the first of the secret keys.

    \b
    1. Put a new key in front, for every process:  DEPOT_SECRET_KEY=NEW,OLD
    2. modeldepot secrets rotate
    3. Take the old one away, for every process:   DEPOT_SECRET_KEY=NEW
    """  # noqa: D301  # click's marker is that one character
    settings = settings_in(data)
    sealer = _sealer(settings)

    async def work(connection: AsyncConnection) -> tuple[int, list[str]]:
        return await keys.reseal(connection, sealer)

    sealed, closed = in_a_transaction(settings, work)
    click.echo(f"{sealed} secrets are sealed with the first secret key")
    if closed:
        raise CannotGoOn(
            f"none of the secret keys opens the secret of {', '.join(closed)}: keep the keys until they do"
        )


@click.command()
@data_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many, at most.")
@click.option("--key", "key_id", metavar="ID", help="Only what was asked with this key.")
def audit(data: Path, limit: int, key_id: str | None) -> None:
    """Show who changed what, from where, and how it was answered; the newest last."""

    async def work(connection: AsyncConnection) -> Sequence[tuple[str, ...]]:
        rows = await records.latest(connection, limit, key_id)
        return [
            (
                time(row.at),
                row.key_id,
                row.action,
                str(row.resource_id or row.other_key_id or "-"),
                row.address,
                row.outcome,
            )
            for row in rows
        ]

    table([("AT", "KEY", "ACTION", "RESOURCE", "FROM", "OUTCOME"), *in_a_transaction(settings_in(data), work)])


def _sealer(settings: Settings) -> Sealer:
    return Sealer(split_keys(settings.secret_key))
