"""A real Prometheus with the rules of alerts.yml: each alert is brought about by what it is for."""

import base64
import json
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from sqlalchemy import Update, column, table, update

from app.db.clock import now
from app.db.revisions import revisions
from app.db.session import Database
from app.db.tables import OperationRow, StorageRow
from app.db.webhook_tables import WebhookRow
from tests import by_hand
from tests.buckets import Place
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.faults.at_points import settings_behind
from tests.faults.conftest import mounted
from tests.faults.storefront import Storefront, Trouble
from tests.processes import BUSY, free_port, until
from tests.receiver import receiving
from tests.servers import PostgreSQL, Redis

_RULES = Path(__file__).parents[2] / "deploy" / "alerts.yml"
_SLOTS = 4
_WITHIN = 60.0
pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no prometheus on this machine")


class Prometheus:
    """Looks once a second, and waits for no alert longer than that."""

    def __init__(self, folder: Path, targets: dict[str, int]) -> None:
        (folder / "alerts.yml").write_text(re.sub(r"(?m)^( +for:) .*$", r"\1 1s", _RULES.read_text()))
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in targets.items()
        ]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"}
        configuration = {"global": every, "rule_files": ["alerts.yml"], "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        self._address = f"http://127.0.0.1:{free_port()}/api/v1/"
        self._log = folder / "log"
        words = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": urllib.parse.urlsplit(self._address).netloc,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", *(f"--{name}={value}" for name, value in words.items())], stdout=log, stderr=log
            )

    def firing(self) -> set[str]:
        """The names of the alerts."""
        alerts = self._ask("alerts")["alerts"] if self._answers() else []
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def value(self, query: str) -> float:
        """Of the only series that it finds; 0 if it finds none."""
        found = self._ask("query?" + urllib.parse.urlencode({"query": query}))["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def expect(self, *names: str) -> None:
        until(lambda: self.firing() >= set(names), lambda: f"{names}: {self.firing()}\n{self.told()}", _WITHIN)

    def expect_calm(self) -> None:
        """Nothing is wrong, and both jobs are seen."""

        def calm() -> bool:
            return self._answers() and self.value("sum(up)") == 2 and not self.firing()

        until(calm, lambda: f"{self.firing()}\n{self.told()}", _WITHIN)

    def told(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def _answers(self) -> bool:
        try:
            return bool(self._ask("status/runtimeinfo"))
        except OSError:
            return False

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(self._address + path, timeout=10) as answer:
            return json.load(answer)["data"]


@pytest.fixture
def postgres() -> Iterator[PostgreSQL]:
    """One that may be stopped."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """One that can be filled, where this user may mount one."""
    with mounted(tmp_path / "disk", 64):
        yield tmp_path / "disk"


@pytest.fixture
def depot(postgres: PostgreSQL, own_redis: Redis, hub: Hub, disk: Path) -> Iterator[Depot]:
    """With an API and a worker."""
    depot = Depot(
        disk,
        database_url=postgres.migrated(),
        redis_url=own_redis.url,
        hub_endpoint=hub.endpoint,
        metrics_port=free_port(),
        slots=_SLOTS,
    )
    yield depot
    depot.close()


@pytest.fixture
def prometheus(depot: Depot, tmp_path: Path) -> Iterator[Prometheus]:
    with watching(depot, tmp_path / "prometheus") as watcher:
        yield watcher


@contextmanager
def watching(depot: Depot, folder: Path) -> Iterator[Prometheus]:
    folder.mkdir()
    workers = int(depot.environment["DEPOT_METRICS_PORT"])
    watcher = Prometheus(folder, {"depot-api": depot.api_metrics_port, "depot-workers": workers})
    try:
        yield watcher
    finally:
        watcher.process.terminate()
        watcher.process.wait(30)


def test_every_alert_fires_by_its_cause(
    depot: Depot, prometheus: Prometheus, postgres: PostgreSQL, own_redis: Redis, hub: Hub
) -> None:
    prometheus.expect_calm()
    seen = set[str]()

    def expect(*names: str) -> None:
        prometheus.expect(*names)
        seen.update(names)

    own_redis.server.stop()
    expect("DepotRedisAway")
    own_redis.server.start()

    if depot.folder.is_mount():
        _fill_the_disk(depot.folder)
        expect("DepotStorageFull")
        (depot.folder / "ballast").unlink()
    depot.storage.rename(depot.folder / "elsewhere")
    expect("DepotStorageAway")
    (depot.folder / "elsewhere").rename(depot.storage)

    published = depot.storage / "models" / str(uuid4())
    published.mkdir()  # As after a restore that brought no models back.
    tidy_now = update(StorageRow).values(tidied_at=None)
    _execute(depot, tidy_now)
    expect("DepotHousekeepingHeldBack")
    assert published.exists()
    published.rmdir()
    _execute(depot, tidy_now)

    _set_revision(depot, "0001")
    expect("DepotDatabaseOutdated")
    _set_revision(depot, revisions().head)
    prometheus.expect_calm()

    _exhaust_the_hub(depot, hub)
    expect("DepotHubTrouble", "DepotOperationsFail")
    _take_the_leases(depot, hub)
    expect("DepotLosesLeases")

    depot.workers[-1].terminate()
    depot.workers[-1].wait(10 + BUSY)
    _wait_for_two_hours(depot)
    expect("DepotWorkersDown", "DepotNobodyWorks", "DepotBacklog")
    for _ in range(3):
        _restart(depot, prometheus)
    expect("DepotRestarts")

    postgres.stop()
    until(
        lambda: depot.client.get("/ai/model").status_code == 503 and prometheus.firing() >= {"DepotApiFails"},
        lambda: str(prometheus.firing()),
        _WITHIN,
    )
    expect("DepotDatabaseAway", "DepotApiFails")
    assert depot.api is not None
    depot.api.kill()
    expect("DepotApiDown")
    tried = seen | {"DepotObjectStoreTrouble", "DepotWebhooksFail"}  # This depot has neither; see below.
    tried = tried if depot.folder.is_mount() else tried | {"DepotStorageFull"}
    assert tried == set(re.findall(r"alert: (\w+)", _RULES.read_text()))


@pytest.mark.nightly
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_object_store_that_fails_is_told(start_depot: StartDepot, bucket: Place, tmp_path: Path) -> None:
    with Storefront(bucket.server.port) as front:
        depot = start_depot(metrics_port=free_port(), **settings_behind(front, bucket))
        with watching(depot, tmp_path / "prometheus") as prometheus:
            prometheus.expect_calm()
            front.misbehave(Trouble("get", "status", 403, "AccessDenied", times=None))
            prometheus.expect("DepotObjectStoreTrouble")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_messages_that_have_not_been_delivered_for_an_hour_are_told(start_depot: StartDepot, tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 503
        secret = f"whsec_{base64.b64encode(bytes(32)).decode()}"
        depot = start_depot(
            metrics_port=free_port(), webhook_url=receiver.url, webhook_secret=secret, webhook_inside="on", backoff=0.1
        )
        depot.wait(depot.create("acme/nowhere")["id"])
        with watching(depot, tmp_path / "prometheus") as prometheus:
            prometheus.expect_calm()
            until(lambda: prometheus.value("modeldepot_webhooks_undelivered") == 1, depot.logs, _WITHIN)
            _execute(depot, update(WebhookRow).values(created_at=now(-3700)))
            prometheus.expect("DepotWebhooksFail")
            receiver.status = 204
            until(lambda: not prometheus.firing(), depot.logs, _WITHIN)
            assert prometheus.value("modeldepot_webhooks_undelivered") == 0


def _fill_the_disk(disk: Path) -> None:
    usage = shutil.disk_usage(disk)
    (disk / "ballast").write_bytes(bytes(usage.free - usage.total // 50))


def _set_revision(depot: Depot, revision: str) -> None:
    _execute(depot, update(table("alembic_version", column("version_num"))).values(version_num=revision))


def _exhaust_the_hub(depot: Depot, hub: Hub) -> None:
    """So many models are asked for of a Hub that answers 503 that they are tried again more than 20 times in all."""
    hub.misbehave(Fault("status", on="any", times=None))
    operations = []
    for number in range(5):
        hub.add(f"acme/refused-{number}", {"config.json": b"{}"})
        operations.append(depot.create(f"acme/refused-{number}"))
    for operation in operations:
        assert depot.wait(operation["id"], 60)["reason"] == "unavailable"
    hub.behave()


def _take_the_leases(depot: Depot, hub: Hub) -> None:
    """While a worker with as many downloads as it has slots is paused, another one takes them over."""
    hub.total_rate = 1 << 18
    models = []
    for number in range(_SLOTS):
        hub.add(f"acme/slow-{number}", {"model.safetensors": Synthetic(4 << 20, number)})
        models.append(depot.create(f"acme/slow-{number}")["reference"]["id"])
    until(lambda: all(depot.model(each)["status"] == "downloading" for each in models), depot.logs)
    worker = depot.workers[-1]
    worker.send_signal(signal.SIGSTOP)
    taken = [0]

    def taken_over() -> bool:
        taken[0] += by_hand.run(depot.environment["DEPOT_DATABASE_URL"], by_hand.claim) is not None
        return taken[0] == _SLOTS

    # It may have been paused in a transaction, whose rows are locked until the database ends it.
    until(taken_over, depot.logs)
    worker.send_signal(signal.SIGCONT)
    hub.total_rate = None


def _wait_for_two_hours(depot: Depot) -> None:
    """With an operation that nobody takes."""
    operation = UUID(depot.create("acme/waiting")["id"])
    _execute(depot, update(OperationRow).where(OperationRow.id == operation).values(due_at=now(-7200)))


def _execute(depot: Depot, statement: Update) -> None:
    async def run(database: Database) -> None:
        async with database.begin() as connection:
            await connection.execute(statement)

    by_hand.run(depot.environment["DEPOT_DATABASE_URL"], run)


def _restart(depot: Depot, prometheus: Prometheus) -> None:
    """Kill the worker, and start another once that was seen."""
    restarts = 'sum(changes(process_start_time_seconds{job="depot-workers"}[15m]))'
    before = prometheus.value(restarts)
    depot.workers[-1].kill()
    depot.workers[-1].wait()
    depot.start_worker()
    until(lambda: prometheus.value(restarts) > before, depot.logs, 30)
