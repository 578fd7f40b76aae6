"""`modeldepot key …`, `secrets rotate` and `audit`: API keys, and what was done with them."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from app.cli.database import in_a_transaction, time
from app.cli.settings import CannotGoOn, address_in, settings_in
from app.client.commands.options import Group, data_option, epilog, json_option, limit_option, wide_option
from app.client.exits import Wrong
from app.db.session import Reader, Writer
from app.domain.errors import BadRequest
from app.domain.keys import LONGEST_NAME, NameLimit, Role, hub_token, is_name, limit_to
from app.local import default_data
from app.sealing import Sealer
from app.services import audit as records
from app.services import keys
from app.services.access_rows import AuditRecord, KeyRecord
from app.services.rows import Record
from app.settings import Settings, split_keys
from app.terminal import CommandError, print_json, say, table, when

_ROLES: Mapping[Role, str] = {
    Role.OPERATOR: "an operator's key: it may do everything (--role reader: only look)",
    Role.READER: "a reader's key: it may only look",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Duration(click.ParamType[float]):
    """A duration such as `90d`, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"([1-9]\d{0,8})([smhd])", str(value))
        if not found:
            self.fail("it must be a number with s, m, h or d behind it, such as 90d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class _KeyName(click.ParamType[str]):
    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_name(str(value)):
            self.fail(f"it must have at most {LONGEST_NAME} characters, all of them printable", param, ctx)
        return str(value)


@click.group(
    cls=Group,
    epilog=epilog(
        "modeldepot key create --name ci --role reader", "modeldepot key list", "modeldepot key revoke EXO0123"
    ),
)
def key() -> None:
    """Make, list and revoke the keys that open the API."""


@key.command(
    "create",
    epilog=epilog(
        "modeldepot key create --name ci --role reader --expires 90d",
        "modeldepot key create --name ci --role reader --json",
        "modeldepot key create --name vllm --role reader --models 'meta-llama/*' --models acme/chat",
    ),
)
@data_option
@click.option("--name", type=_KeyName(), default="", metavar="TEXT", help="Whose it is, or what it is for.")
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
@click.option(
    "--models",
    "patterns",
    multiple=True,
    metavar="OWNER/NAME",
    help="A model, or a pattern such as 'meta-llama/*', that it is limited to; repeatable. Default: all models.",
)
@click.option(
    "--auto-deployment", is_flag=True, help="Pulling a model with it declares a deployment of the key's name."
)
@json_option
def create_key(
    data: Path,
    name: str,
    role: str,
    expires: float | None,
    patterns: Sequence[str],
    *,
    auto_deployment: bool,
    as_json: bool,
) -> None:
    """Make a key. Its secret is shown this once."""
    if auto_deployment and not name:
        raise click.UsageError("give the deployments a --name")
    limit = _limit(patterns)
    settings = settings_in(data)
    sealer = _sealer(settings)

    async def work(connection: Writer) -> tuple[str, str]:
        made = await keys.create(
            connection,
            sealer,
            name=name,
            role=Role(role),
            expires=expires,
            limit=limit,
            auto_deployment=auto_deployment,
        )
        await records.accept_for_key(connection, records.by_shell("create-key"), made[0], name)
        return made

    key_id, secret = in_a_transaction(settings, work)
    token = hub_token(key_id, secret)
    if as_json:
        print_json({"id": key_id, "secret": secret, "token": token})
    else:
        say(f"key     {key_id}", f"secret  {secret}", f"token   {token}")
    models = f", limited to {', '.join(limit.patterns or ())}" if patterns else ""
    until = f"expires in {expires / _UNITS['d']:g} days" if expires else "never expires (--expires TIME)"
    say("", f"This is {_ROLES[Role(role)]}{models}. It {until}.", err=True)
    _say_how_to_use(key_id, address_in(settings, data))


def _say_how_to_use(key_id: str, address: str) -> None:
    say(
        "The secret is not shown again.",
        f"  login  modeldepot login {address}, which asks for the token or for {key_id}:SECRET",
        f"  SDKs   Client({key_id!r}, SECRET, url='{address}/v2')",
        f"  curl   -H 'Authorization: Bearer {key_id}:SECRET'",
        "  token  is both in the form of the Hub's tokens, on which some of its clients insist",
        err=True,
    )


@key.command("list", epilog=epilog("modeldepot key list", "modeldepot key list --json"))
@data_option
@json_option
@wide_option
def list_keys(data: Path, *, as_json: bool, wide: bool) -> None:
    """Show every key, without its secret."""
    rows = in_a_transaction(settings_in(data), keys.list_all)
    if as_json:
        print_json({"keys": [_object(row) | {"models": NameLimit.from_text(row.models).patterns} for row in rows]})
        return
    titles = ("ID", "NAME", "ROLE", "CREATED", "LAST USED", "EXPIRES", "REVOKED", "MODELS")
    times = ("created_at", "last_used_at", "expires_at", "revoked_at")
    lines = [
        (row.id, row.name or "-", row.role.value, *(when(getattr(row, name)) for name in times), row.models or "all")
        for row in rows
    ]
    table([titles, *lines], wide=wide, spare=("CREATED", "LAST USED"))


def _complete_key(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    with suppress(CommandError):
        rows = in_a_transaction(settings_in(ctx.params.get("data") or default_data()), keys.list_all)
        words = {word for row in rows if row.revoked_at is None for word in (row.id, row.name)}
        return sorted(word for word in words if word and word.startswith(incomplete) and word.isprintable())
    return []


@key.command("revoke", epilog=epilog("modeldepot key revoke EXO0123456789abcdef01234567", "modeldepot key revoke ci"))
@data_option
@click.argument("text", metavar="ID|NAME", shell_complete=_complete_key)
def revoke_key(data: Path, text: str) -> None:
    """Shut a key out, within five seconds, on every machine.

    It is named by its id, or by its name if no other key in use has that.
    """

    async def work(connection: Writer) -> str:
        key_id = _meant(text, await keys.list_all(connection))
        name = await keys.revoke(connection, key_id)
        await records.accept_for_key(connection, records.by_shell("revoke-key"), key_id, name)
        return key_id

    say(f"{in_a_transaction(settings_in(data), work)} is revoked")


def _meant(text: str, rows: Sequence[KeyRecord]) -> str:
    """Return the id that `text` is, or that of the only key with this name which is not revoked. Raises `Wrong`."""
    named = [row.id for row in rows if row.name == text and row.revoked_at is None]
    if len(named) > 1 and text not in {row.id for row in rows}:
        raise Wrong(f"{len(named)} keys are called {text!r}: name the one you mean by its id", *named)
    return text if text in {row.id for row in rows} or not named else named[0]


@click.group(cls=Group, epilog=epilog("modeldepot secrets rotate"))
def secrets() -> None:
    """Look after what is sealed in the database."""


@secrets.command("rotate", epilog=epilog("modeldepot secrets rotate"))
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

    async def work(connection: Writer) -> tuple[int, list[str]]:
        await records.record(connection, [records.by_shell("rotate-secrets")], records.ACCEPTED)
        return await keys.reseal(connection, sealer)

    sealed, closed = in_a_transaction(settings, work)
    say(f"{sealed} secrets are sealed with the first secret key")
    if closed:
        raise CannotGoOn(
            f"none of the secret keys opens the secret of {', '.join(closed)}: keep the keys until they do"
        )


@click.command(epilog=epilog("modeldepot audit", "modeldepot audit --key EXO0123456789abcdef01234567 --limit 1000"))
@data_option
@limit_option(100)
@click.option("--key", "key_id", metavar="ID", help="Only what was asked with this key.")
@json_option
@wide_option
def audit(data: Path, limit: int, key_id: str | None, *, as_json: bool, wide: bool) -> None:
    """Show who changed what, from where, and how it was answered; the newest last.

    What was done with this command and without a key is told as `cli:USER@HOST`.
    """

    async def work(connection: Reader) -> Sequence[AuditRecord]:
        return await records.latest(connection, limit, key_id)

    rows = in_a_transaction(settings_in(data), work)
    if as_json:
        print_json({"audit": [_object(row) for row in rows]})
        return
    titles = ("AT", "KEY", "KEY NAME", "ACTION", "RESOURCE", "ID", "FROM", "OUTCOME")
    table([titles, *(_line(row) for row in rows)], wide=wide, spare=("ID", "KEY", "FROM"))


def _line(row: AuditRecord) -> Sequence[object]:
    resource = row.resource_id or row.other_key_id or "-"
    who = row.key_id, row.key_name or "-"
    return when(row.at), *who, row.action, row.resource_name or "-", resource, row.address, row.outcome


def _object(row: Record) -> dict[str, Any]:
    """Convert a row to JSON, with the API's names and times."""
    return {name.replace("_", "-"): _value(value) for name, value in row._asdict().items()}


def _limit(patterns: Sequence[str]) -> NameLimit:
    try:
        return limit_to(patterns)
    except BadRequest as error:
        raise click.BadParameter(error.message, param_hint="--models") from None


def _value(value: object) -> str | bool | None:
    if isinstance(value, bool):
        return value
    return time(value) if isinstance(value, datetime) else None if value is None else str(value)


def _sealer(settings: Settings) -> Sealer:
    return Sealer(split_keys(settings.secret_key))
