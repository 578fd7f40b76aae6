"""`modeldepot operations`: the operations, which worker holds them, and since when."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from app.api import schemas
from app.cli.database import in_a_transaction, time
from app.cli.settings import settings_in
from app.client.commands.options import (
    data_option,
    either,
    epilog,
    limit_option,
    patterns_argument,
    quiet_option,
    wide_option,
)
from app.client.names import limit_of
from app.db.session import Reader
from app.domain.states import OperationState
from app.services import history
from app.services.rows import HistoryRecord
from app.terminal import give, print_json, say, table, when

_TITLES = ("ID", "COMMAND", "ABOUT", "STATE", "SINCE", "HELD BY", "RETRIES", "DUE", "MESSAGE")
_SPARE = ("ID", "RETRIES", "SINCE", "HELD BY")


@click.command(
    epilog=epilog(
        "modeldepot operations",
        "modeldepot operations --state failure 'acme/*'",
        "modeldepot operations -q llama | xargs -r modeldepot wait",
        "modeldepot operations --all --json",
    )
)
@data_option
@patterns_argument
@click.option(
    "--state",
    type=click.Choice([state.value for state in OperationState]),
    default=OperationState.PENDING.value,
    show_default=True,
    help="Those in this state.",
)
@click.option("--all", "every", is_flag=True, help="Those in any state.")
@limit_option(1000)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the API's objects, with more in them.",
    callback=either("quiet"),
)
@quiet_option
@wide_option
def operations(
    data: Path, patterns: Sequence[str], state: str, limit: int, *, every: bool, quiet: bool, wide: bool, as_json: bool
) -> None:
    """Show what is pending, which worker holds it since when, or when it is due; the newest last.

    All, or what is about models whose name a pattern such as 'acme/*' matches or a word is in.

    A worker holds an operation by a lease that it renews. One whose lease has run out was killed, or can't reach the
    database: another worker goes on in its place. Those that nobody holds are due: now if a worker is free, or after
    the wait for another attempt, whose reason is the message.
    """

    async def work(connection: Reader) -> Sequence[HistoryRecord]:
        only = None if every else OperationState(state)
        return await history.page(connection, limit=limit, state=only, reach=limit_of(patterns))

    rows = in_a_transaction(settings_in(data), work)[::-1]
    if as_json:
        print_json({"operations": [_object(row) for row in rows]})
    elif quiet:
        for row in rows:
            give(str(row.id))
    elif rows:
        table([_TITLES, *(_line(row) for row in rows)], wide=wide, spare=_SPARE)
    elif patterns:
        where = "" if every else f" in the state {state!r}; --all looks at all states"
        say(f"No operation is like that{where}.", err=True)
    elif every:
        say("There are no operations yet.", err=True)
    else:
        say(f"Nothing is in the state {state!r}; --all shows the others.", err=True)


def _line(row: HistoryRecord) -> tuple[str, ...]:
    return (
        str(row.id),
        row.command,
        row.subject or str(row.resource_id),
        f"{row.state} {row.reason or ''}".rstrip(),
        when(row.created_at),
        row.lease_owner or "-",
        str(row.retries),
        _due(row),
        row.message or "",
    )


def _due(row: HistoryRecord) -> str:
    """Format when it ended, that it is paused, the rest of its lease, or when it is due."""
    if row.ended_at is not None:
        return f"ended {when(row.ended_at)}"
    if row.paused:
        return "paused"
    seconds = (row.due_at - row.now).total_seconds()
    if row.lease_owner is not None:
        since = f"held since {when(row.leased_at)}, "
        return since + (f"{seconds:.0f} s left" if seconds > 0 else f"lapsed {-seconds:.0f} s ago")
    return f"in {seconds:.0f} s" if seconds > 0 else f"since {-seconds:.0f} s"


def _object(row: HistoryRecord) -> dict[str, Any]:
    """Return the API's operation, with more fields for operators. Times are the database's."""
    seconds = (row.due_at - row.now).total_seconds()
    held, pending = row.lease_owner is not None, row.ended_at is None
    more = {
        "command": row.command,
        "resource-name": row.subject,
        "attempts": row.attempts,
        "retries": row.retries,
        "request-id": row.request_id,
        "created-at": time(row.created_at),
        "ended-at": None if pending else time(row.ended_at),
        "held-by": row.lease_owner,
        "held-since": time(row.leased_at) if held else None,
        "lease-left": round(seconds, 1) if pending and held else None,
        "due-in": round(seconds, 1) if pending and not held and not row.paused else None,
        "paused": pending and row.paused,
    }
    shown: dict[str, Any] = json.loads(
        schemas.OPERATION.dump_json(schemas.operation(row), by_alias=True, exclude_none=True)
    )
    return shown | more
