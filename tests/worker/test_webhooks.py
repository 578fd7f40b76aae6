"""Webhooks, from what happens to the receiver: signed, repeated until delivered, to no address inside, out of the way."""

import asyncio
import base64
import json
import os
import secrets
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from app.db.clock import now
from app.db.session import Database
from app.db.webhook_tables import WebhookRow
from app.services import webhooks
from tests import by_hand
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub
from tests.processes import free_port, until
from tests.receiver import Receiver, receiving
from tests.terminal import modeldepot
from tests.worker.test_secrets import held
from worker.webhooks import WebhookOptions, WebhookSender

_KEYS = [secrets.token_bytes(32) for _ in range(2)]
_SECRETS = [f"whsec_{base64.b64encode(key).decode()}" for key in _KEYS]
_HOUR = 3600.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def _sender(database: Database, url: str, *, inside: bool = True, backoff: float = 2.0) -> WebhookSender:
    options = WebhookOptions(url, _KEYS, inside=inside, backoff=backoff, lease=30, poll_interval=0.05)
    return WebhookSender(database, options)


async def test_a_message_is_signed_with_each_key_and_tells_what_is_true(database: Database, receiver: Receiver) -> None:
    model_id = await by_hand.ready_model(database, "acme/model")
    sender = _sender(database, receiver.url)
    assert await sender.send_next() is True
    assert await sender.send_next() is False
    (received,) = receiver.received
    for secret in _SECRETS:
        told = Webhook(secret).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(_SECRETS[0]).verify(received.body + b" ", received.headers)
    assert received.headers["content-type"] == "application/json"
    assert (told["type"], told["data"]["id"]) == ("model.ready", str(model_id))
    size = sum(size for _, size, _ in by_hand.FILES)
    assert (told["data"]["status"], told["data"]["model-size"]) == ("ready", size)
    (row,) = await _rows(database)
    assert (row.delivered_at is not None, row.attempts, row.error) == (True, 1, None)


async def test_a_receiver_that_is_down_for_an_hour_gets_all_messages_and_each_once(database: Database) -> None:
    port = free_port()
    sender = _sender(database, f"http://127.0.0.1:{port}/")
    for number in range(2):
        await by_hand.ready_model(database, f"acme/model-{number}")
    passed, waits = 0.0, []
    while passed < _HOUR:  # which is the longest wait of one message, since the waits double
        assert await sender.send_next() is True
        assert await sender.send_next() is True
        assert await sender.send_next() is False, "both wait"
        rows = await _rows(database)
        assert {row.error for row in rows} == {"The receiver can't be reached (ConnectError)."}
        waits.append(round(max((row.due_at - row.now).total_seconds() for row in rows)))
        passed += waits[-1]
        await _elapse(database)
    assert waits == [2 * 2**number for number in range(len(waits))]
    with receiving(port) as receiver:
        assert [await sender.send_next() for _ in range(3)] == [True, True, False]
    assert len({one.id for one in receiver.received}) == len(receiver.received) == 2


async def test_the_waits_end_at_an_hour_however_often_it_failed(database: Database, receiver: Receiver) -> None:
    receiver.status = 500
    await by_hand.ready_model(database, "acme/model")
    async with database.begin() as connection:
        await connection.execute(update(WebhookRow).values(attempts=5000))
    assert await _sender(database, receiver.url).send_next() is True
    (row,) = await _rows(database)
    assert _HOUR - 60 < (row.due_at - row.now).total_seconds() <= _HOUR


@pytest.mark.parametrize("status", [500, 302, 404, 410])
async def test_an_answer_that_is_no_success_is_a_failure_and_no_redirect_is_followed(
    database: Database, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    await by_hand.ready_model(database, "acme/model")
    sender = _sender(database, receiver.url)
    assert await sender.send_next() is True
    (row,) = await _rows(database)
    assert f"answers {status}" in row.error
    assert len(receiver.received) == 1
    await _elapse(database)
    receiver.status = 200
    assert await sender.send_next() is True
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)


# The second is no address by its spelling: only the connection shows it.
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "localhost"])
async def test_nothing_is_sent_to_an_address_inside_unless_it_is_allowed(
    database: Database, receiver: Receiver, host: str
) -> None:
    await by_hand.ready_model(database, "acme/model")
    url = f"http://{host}:{receiver.port}/"
    assert await _sender(database, url, inside=False).send_next() is True
    assert receiver.received == []
    (row,) = await _rows(database)
    assert "DEPOT_WEBHOOK_INSIDE" in row.error
    await _elapse(database)
    assert await _sender(database, url).send_next() is True
    assert len(receiver.received) == 1


async def test_a_message_goes_through_the_proxy_of_the_environment(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{receiver.port}")
    await by_hand.ready_model(database, "acme/model")
    assert await _sender(database, "http://hooks.example/path", inside=False).send_next() is True
    assert [one.path for one in receiver.received] == ["http://hooks.example/path"]


async def test_a_certificate_must_be_trusted_and_the_error_names_no_address(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    url = receiver.url.replace("http://", "https://")
    await by_hand.ready_model(database, "acme/model")
    assert await _sender(database, url).send_next() is True
    (row,) = await _rows(database)
    assert "SSL_CERT_FILE" in row.error
    assert "127.0.0.1" not in row.error
    await _elapse(database)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    assert await _sender(database, url).send_next() is True
    assert len(receiver.received) == 1


async def test_a_stop_does_not_wait_for_the_receiver(database: Database, receiver: Receiver) -> None:
    receiver.answering.clear()
    await by_hand.ready_model(database, "acme/model")
    task = asyncio.create_task(_sender(database, receiver.url).run())
    async with asyncio.timeout(60):
        while not receiver.received:  # noqa: ASYNC110  # another thread receives
            await asyncio.sleep(0.01)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
    (row,) = await _rows(database)
    assert (row.delivered_at, row.error) == (None, None)


async def test_two_workers_never_send_the_same_message_and_one_that_was_killed_is_made_up_for(
    database: Database, receiver: Receiver
) -> None:
    for number in range(3):
        await by_hand.ready_model(database, f"acme/model-{number}")
    async with database.begin() as connection:
        killed = await webhooks.claim(connection, seconds=30)
    assert killed is not None
    senders = [_sender(database, receiver.url) for _ in range(2)]
    while any([await sender.send_next() for sender in senders]):
        pass
    assert len(receiver.received) == 2
    assert str(killed.id) not in {one.id for one in receiver.received}
    await _elapse(database)
    assert await senders[0].send_next() is True
    assert receiver.received[-1].id == str(killed.id)
    # What the killed one says late changes nothing.
    async with database.begin() as connection:
        await webhooks.failed(connection, killed, "late", after=0)
    assert await senders[0].send_next() is False


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_slow_receiver_delays_no_model_and_a_kill_loses_no_message(
    start_depot: StartDepot, hub: Hub, receiver: Receiver
) -> None:
    for name in ("first", "second"):
        hub.add(f"acme/{name}", {"config.json": b"{}"})
    receiver.answering.clear()
    depot = start_depot(webhook_url=receiver.url, webhook_secret=",".join(_SECRETS), webhook_inside="on")
    first = depot.create("acme/first")
    assert depot.wait(first["id"])["state"] == "success", depot.logs()
    until(lambda: receiver.received, depot.logs)
    assert depot.wait(depot.create("acme/second")["id"])["state"] == "success", depot.logs()
    assert depot.wait(depot.create("acme/nowhere")["id"])["state"] == "failure"
    assert len(receiver.received) == 1, "one at a time"
    os.kill(depot.workers[0].pid, signal.SIGKILL)
    depot.workers[0].wait()
    receiver.answering.set()
    by_hand.run(depot.environment["DEPOT_DATABASE_URL"], _elapse)  # the claim of the killed worker has run out
    depot.start_worker()
    until(lambda: len(receiver.received) == 4, depot.logs)
    assert receiver.received[0].id in {one.id for one in receiver.received[1:]}
    model_id = first["reference"]["id"]
    assert depot.wait(depot.client.delete(f"/ai/model/{model_id}").json()["id"])["state"] == "success", depot.logs()
    until(lambda: len({one.id for one in receiver.received}) == 4, depot.logs)
    told = {one.id: Webhook(_SECRETS[1]).verify(one.body, one.headers) for one in receiver.received}
    assert sorted(one["type"] for one in told.values()) == [
        "model.deleted",
        "model.error",
        "model.ready",
        "model.ready",
    ]
    (failed,) = [one["data"] for one in told.values() if one["type"] == "model.error"]
    assert (failed["name"], failed["reason"], failed["path"]) == ("acme/nowhere", "not-found", None)
    assert failed["message"]

    database_url = depot.environment["DEPOT_DATABASE_URL"]
    until(lambda: all(row.delivered_at for row in by_hand.run(database_url, _rows)), depot.logs)
    listed = json.loads(modeldepot(depot.environment, "webhooks", "list", "--json").stdout)["webhooks"]
    last = listed[-1]
    assert (last["event"], last["model-id"], last["attempts"]) == ("model.deleted", model_id, 1)
    assert last["delivered-at"]
    count = len(receiver.received)
    again = modeldepot(depot.environment, "webhooks", "redeliver", last["id"])
    assert (again.returncode, again.stderr) == (
        0,
        "1 message is sent again by the next worker with DEPOT_WEBHOOK_URL\n",
    )
    until(lambda: len(receiver.received) > count, depot.logs)
    assert receiver.received[-1].id == last["id"]
    assert "acme/nowhere" in modeldepot(depot.environment, "webhooks", "list").stdout
    places = {"logs": depot.logs().encode()}
    assert held([*(secret.removeprefix("whsec_") for secret in _SECRETS), "a-secret-path"], places) == []


async def _rows(database: Database) -> list[Any]:
    async with database.read() as connection:
        return list(await webhooks.newest(connection, limit=100, undelivered=False))


async def _elapse(database: Database) -> None:
    """Let all waits be over."""
    async with database.begin() as connection:
        undelivered = WebhookRow.id.in_(select(WebhookRow.id).where(WebhookRow.delivered_at.is_(None)))
        await connection.execute(update(WebhookRow).where(undelivered).values(due_at=now(-1)))
