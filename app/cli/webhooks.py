"""`modeldepot webhooks`: the messages to the receiver of webhooks, and sending them again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from app.cli.database import in_a_transaction, time
from app.cli.settings import settings_in
from app.client.commands.options import Group, data_option, epilog, json_option, limit_option, wide_option
from app.db.session import Reader, Writer
from app.services import webhooks as messages
from app.services.rows import WebhookRecord
from app.terminal import print_json, say, table, when

_TITLES = ("ID", "EVENT", "MODEL", "SINCE", "STATE", "ATTEMPTS", "ERROR")


@click.group(
    cls=Group,
    epilog=epilog(
        "modeldepot webhooks list --undelivered", "modeldepot webhooks redeliver 5f3c0b9e-0d0c-4f0e-9d8b-1b2f0f6a7c11"
    ),
)
def webhooks() -> None:
    """Look at what is told to DEPOT_WEBHOOK_URL, and send it again."""


@webhooks.command("list", epilog=epilog("modeldepot webhooks list", "modeldepot webhooks list --undelivered --wide"))
@data_option
@click.option("--undelivered", is_flag=True, help="Only those that were not delivered.")
@limit_option(100)
@wide_option
@json_option
def list_messages(data: Path, limit: int, *, undelivered: bool, wide: bool, as_json: bool) -> None:
    """Show the messages, the newest last.

    That is whether they were delivered, or when they are sent again and why.
    """

    async def work(connection: Reader) -> Sequence[WebhookRecord]:
        return await messages.newest(connection, limit=limit, undelivered=undelivered)

    rows = in_a_transaction(settings_in(data), work)[::-1]
    if as_json:
        print_json({"webhooks": [_object(row) for row in rows]})
    else:
        table([_TITLES, *(_line(row) for row in rows)], wide=wide, spare=("SINCE", "ATTEMPTS"))


@webhooks.command(epilog=epilog("modeldepot webhooks redeliver 5f3c0b9e-0d0c-4f0e-9d8b-1b2f0f6a7c11"))
@data_option
@click.argument("message_ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
def redeliver(data: Path, message_ids: Sequence[UUID]) -> None:
    """Have messages sent once more, under the same ids.

    A worker sends them as soon as it polls.
    """

    async def work(connection: Writer) -> None:
        for message_id in message_ids:
            await messages.redeliver(connection, message_id)

    in_a_transaction(settings_in(data), work)
    number = "1 message is" if len(message_ids) == 1 else f"{len(message_ids)} messages are"
    number = "1 message is" if len(message_ids) == 1 else f"{len(message_ids)} messages are"
    say(f"{number} sent again by the next worker with DEPOT_WEBHOOK_URL", err=True)


def _line(row: WebhookRecord) -> tuple[str, ...]:
    state = f"delivered {when(row.delivered_at)}" if row.delivered_at else _due(row)
    error = row.error or ""
    return str(row.id), row.event, row.model_name, when(row.created_at), state, str(row.attempts), error


def _due(row: WebhookRecord) -> str:
    seconds = (row.due_at - row.now).total_seconds()
    return f"in {seconds:.0f} s" if seconds > 0 else "due"


def _object(row: WebhookRecord) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "event": row.event,
        "model-id": str(row.model_id),
        "model-name": row.model_name,
        "created-at": time(row.created_at),
        "due-at": None if row.delivered_at else time(row.due_at),
        "attempts": row.attempts,
        "delivered-at": time(row.delivered_at) if row.delivered_at else None,
        "error": row.error,
    }
