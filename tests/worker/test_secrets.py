"""Secrets: seen by whom they are for, and by nobody and nothing else.

A depot is given secrets that look like nothing in particular, so that no pattern in the logs strikes them out by luck,
and taken through whatever may go wrong. Then everything that it wrote, said or kept is searched.
"""

import base64
import os
import secrets
import signal
import string
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from redis import Redis as Client
from redis.exceptions import RedisError
from sqlalchemy import inspect, text

from app.db.session import Database
from app.domain.keys import hub_token
from app.sealing import new_key
from tests.api.test_auth import sign
from tests.by_hand import plain, run
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.faults.watching import children, writers
from tests.processes import family, free_port, said, until
from tests.servers import Redis


class Planted:
    """The secrets of one depot."""

    def __init__(self) -> None:
        self.token, self.poor_token = secrets.token_hex(17), secrets.token_hex(17)
        self.api_secret, self.database, self.redis = (secrets.token_urlsafe(24) for _ in range(3))
        self.secret_key = new_key()
        self.foreign = "hf_" + "".join(secrets.choice(string.ascii_letters) for _ in range(34))
        """A token of the Hub that its owner sends to the depot, which is none of the depot's business."""

    def of_a_worker(self) -> set[str]:
        return {self.token, self.poor_token, self.database, self.redis, self.secret_key}

    def all(self) -> set[str]:
        # Its forms have the secret in hexadecimal digits, as in the key's spelling as a token of the Hub.
        return self.of_a_worker() | {self.api_secret, self.foreign}


def forms(secret: str) -> Iterable[bytes]:
    """As it is, and as it may stand in an address, in a header or in JSON."""
    raw = secret.encode()
    return {raw, quote(secret, safe="").encode(), base64.b64encode(raw).rstrip(b"="), raw.hex().encode()}


def held(planted: Iterable[str], places: dict[str, bytes]) -> list[str]:
    """Where one of them is to be seen."""
    return [
        f"{secret} in {place}"
        for secret in planted
        for place, content in places.items()
        if any(form in content for form in forms(secret))
    ]


def files(folder: Path) -> dict[str, bytes]:
    """All that is in files: logs, models and what arrives of them, SQLite's database, what Redis keeps."""
    paths = [Path(top) / name for top, _, names in os.walk(folder) for name in names]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def tables(database_url: str) -> dict[str, bytes]:
    """Every column of every row of every table."""

    async def dump(database: Database) -> dict[str, bytes]:
        async with database.read() as connection:
            names = await plain(connection).run_sync(lambda sync: inspect(sync).get_table_names())
            rows = {name: (await plain(connection).execute(text(f'SELECT * FROM "{name}"'))).all() for name in names}
        return {f"table {name}": repr(rows[name]).encode() for name in names}

    found: dict[str, bytes] = run(database_url, dump)
    assert {"table models", "table operations", "table api_keys", "table audit"} <= set(found), sorted(found)
    return found


@contextmanager
def monitored(url: str) -> Iterator[list[bytes]]:
    """Every command that a Redis is sent, from here to its end or that of the block."""
    seen: list[bytes] = []
    last = "that was all"
    with Client.from_url(url) as client, client.monitor() as monitor, ThreadPoolExecutor(1) as pool:

        def listen() -> None:
            with suppress(RedisError, OSError):
                for command in monitor.listen():
                    if last in command["command"]:
                        return
                    seen.append(repr(command).encode())

        listening = pool.submit(listen)
        try:
            yield seen
        finally:
            with suppress(RedisError, OSError):
                client.echo(last)
            listening.result(60)


class Ear:
    """Remembers every answer that a client is given."""

    def __init__(self, client: httpx2.Client) -> None:
        self.heard: dict[str, bytes] = {}
        client.event_hooks = {"response": [self._hear]}

    def _hear(self, response: httpx2.Response) -> None:
        content = response.read() + repr(response.headers.raw).encode()
        self.heard[f"answer {len(self.heard)} to {response.request.url.path}"] = content


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def redis_url(planted: Planted) -> Iterator[str]:
    """A Redis of the test's own, with a password."""
    with Redis() as server:
        with Client.from_url(server.url) as client:
            client.config_set("requirepass", planted.redis)
        yield server.url.replace("unix://", f"unix://:{planted.redis}@")


def test_a_planted_secret_is_nowhere_in_the_clear(
    start_depot: StartDepot, hub: Hub, planted: Planted, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    hub.account(planted.token, may_read=["acme/private"])
    hub.account(planted.poor_token)
    hub.add("acme/private", {"config.json": b"{}", "model.safetensors": Synthetic(2 << 20)}, private=True)
    hub.add("acme/gated", {"config.json": b"{}"}, gated=True)
    hub.add("acme/broken", {"config.json": b"{}", "model.safetensors": Synthetic(1 << 20)})
    # PostgreSQL trusts its machine in tests, whatever the password.
    addressed = database_url.replace("depot@", f"depot:{planted.database}@")
    with monitored(redis_url) as commands:
        depot = start_depot(
            executed=True,
            database_url=addressed,
            secret_key=planted.secret_key,
            bootstrap_secret=planted.api_secret,
            connections=1,
            stall_window=60,
            attempts=2,
            metrics_port=free_port(),
        )
        depot.client.headers["Authorization"] = (
            f"Bearer {depot.environment['DEPOT_BOOTSTRAP_KEY']}:{planted.api_secret}"
        )
        ear = Ear(depot.client)
        _crashes_and_succeeds(depot, hub, planted, database_url)
        _fails(depot, hub, planted)
        _refuses(depot, planted)
        ear.heard |= _console(depot, planted)
        told = _commands(depot) | {"commands of Redis": b"\n".join(commands)}
        told |= {
            "figures of the worker": httpx2.get(
                f"http://127.0.0.1:{depot.environment['DEPOT_METRICS_PORT']}/metrics"
            ).content
        }
        with Client.from_url(redis_url) as redis:
            told |= {f"Redis {key!r}": key + (redis.dump(key) or b"") for key in redis.scan_iter()}
            redis.shutdown(nosave=True, now=True, force=True)
    assert depot.create("acme/private", revision="later")["state"] == "pending"
    until(lambda: "redis can't be reached" in depot.logs(), depot.logs)
    signed = {link.signature for link in hub.links.values()}
    assert signed
    places = told | ear.heard | tables(database_url) | files(tmp_path)
    assert held(planted.all() | signed, places) == []
    # What is no secret is found by the same search.
    for public, where in (
        ("acme/private", "table models"),
        ("pending", "answer 0 to /v2/ai/model"),
        (depot.environment["DEPOT_BOOTSTRAP_KEY"], "modeldepot audit"),
        (depot.environment["DEPOT_BOOTSTRAP_KEY"], str(depot.folder / "0-api.log")),
        ("doorbell", "commands of Redis"),
        ("create-model", "figures of the worker"),
    ):
        assert held([public], {where: places[where]}), where
    assert any(request.authorization == f"Bearer {planted.token}" for request in hub.requests)
    assert not any(request.authorization for request in hub.requests if request.origin == "cdn")


def _crashes_and_succeeds(depot: Depot, hub: Hub, planted: Planted, database_url: str) -> None:
    """A private model, whose first download is killed half-way."""
    hub.misbehave(Fault("stall", after_bytes=1 << 20, path="model.safetensors"))
    operation = depot.create("acme/private", huggingface_token=planted.token)
    model_id = operation["reference"]["id"]
    until(lambda: model_id in writers(depot.storage), depot.logs)
    _look_at_processes(depot, planted)
    assert held(planted.all(), tables(database_url)) == []
    assert _sealed_tokens(database_url) == 1
    for child in children(depot.workers[0].pid):
        os.kill(child, signal.SIGKILL)
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    assert _sealed_tokens(database_url) == 0
    for path in (f"/ai/model/{model_id}", f"/ai/model/{model_id}/files", f"/ai/model/{model_id}/events", "/ai/model"):
        assert depot.client.get(path).status_code == 200
    # A worker asks the Hub without the token, and is asked through Redis.
    assert depot.client.get(f"/ai/model/{model_id}/latest").status_code == 409


def _fails(depot: Depot, hub: Hub, planted: Planted) -> None:
    """The Hub says 403, then its CDN does."""
    ended = depot.wait(depot.create("acme/gated", huggingface_token=planted.poor_token)["id"])
    assert (ended["state"], ended["reason"]) == ("failure", "forbidden"), ended
    hub.misbehave(Fault("status", status=500, on="file", path="model.safetensors", times=None))
    ended = depot.wait(depot.create("acme/broken", huggingface_token=planted.token)["id"])
    assert (ended["state"], ended["reason"]) == ("failure", "unavailable"), ended
    hub.behave()


def _refuses(depot: Depot, planted: Planted) -> None:
    """Requests that hold a secret where none belongs."""
    key, body = depot.environment["DEPOT_BOOTSTRAP_KEY"], {"name": "acme/x", "huggingface_token": planted.token}
    refused = [
        depot.client.post("/ai/model", json=body),
        depot.client.post("/ai/model", json={"name": f"acme/{planted.token} x"}),
        depot.client.post("/ai/model", json={"name": "acme/x", "huggingface-token": [planted.token]}),
        depot.client.post("/ai/model", json={"name": "acme/x", "revision": f"{planted.token}.."}),
        depot.client.post(f"/ai/model?huggingface-token={planted.token}", json={}),
        *(
            depot.client.get("/ai/model", headers={"Authorization": header})
            for header in (
                f"Bearer {planted.api_secret}:{key}",
                f"Bearer {key}:{planted.api_secret}x",
                f"Basic {key}:{planted.api_secret}",
                f"Basic {base64.b64encode(f'{key}:{planted.api_secret}'.encode()).decode()}",
                f"Bearer {hub_token(key, f'{planted.api_secret}x')}",
                f"Bearer {hub_token(key, planted.api_secret)}x",
                f"Bearer {planted.foreign}",
                sign("DELETE", "/v2/ai/model", key=key, secret=planted.api_secret),
                sign("GET", "/v2/ai/model", key=planted.api_secret, secret=planted.api_secret),
            )
        ),
    ]
    assert {answer.status_code for answer in refused} <= {400, 401, 403}
    token = {"Authorization": f"Bearer {hub_token(key, planted.api_secret)}"}
    assert depot.client.get("/ai/model", headers=token).status_code == 200
    assert depot.client.get(f"http://127.0.0.1:{depot.port}/metrics").status_code == 200


def _console(depot: Depot, planted: Planted) -> dict[str, bytes]:
    """Its pages, to whoever signs in, and to whoever fails to."""
    form = {"key": f"{depot.environment['DEPOT_BOOTSTRAP_KEY']}:{planted.api_secret}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{depot.port}", follow_redirects=True, timeout=30) as client:
        ear = Ear(client)
        assert client.post("/console/sign-in", data={"key": f"{form['key']}x"}).status_code == 403
        assert client.post("/console/sign-in", data=form).status_code == 200
        for page in ("", "/activity", "/deployments", "/storage", "/workers", "/keys"):
            assert client.get(f"/console{page}").status_code == 200
    return ear.heard


def _commands(depot: Depot) -> dict[str, bytes]:
    """What the operator's commands print."""
    told = {}
    for words in (["key", "list"], ["audit"], ["secrets", "rotate"]):
        command = [sys.executable, "-m", "app.cli", *words]
        done = subprocess.run(command, env=depot.environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        told[f"modeldepot {' '.join(words)}"] = done.stdout + done.stderr
    return told


def _look_at_processes(depot: Depot, planted: Planted) -> None:
    for process in (depot.api, *depot.workers):
        assert process is not None
        for pid in family(process.pid):
            assert held(planted.all(), {"a command line": said(pid, "cmdline").encode()}) == []
    downloads = children(depot.workers[0].pid)
    assert downloads
    for pid in downloads:
        assert held(planted.all(), {"a download's environment": said(pid, "environ").encode()}) == []


def _sealed_tokens(database_url: str) -> int:
    async def count(database: Database) -> Any:
        async with database.read() as connection:
            rows = await plain(connection).execute(
                text("SELECT sealed_token FROM operations WHERE sealed_token IS NOT NULL")
            )
            sealed = [row.sealed_token for row in rows]
        assert all(token.startswith("v1.") for token in sealed)
        return len(sealed)

    found: int = run(database_url, count)
    return found
