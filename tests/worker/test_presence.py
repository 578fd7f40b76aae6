"""What can be seen of a worker: its row while it is there, and its log, where each line names its request."""

import json
from typing import Any

import pytest

from app.db.session import Database
from app.services import workers
from app.services.workers import Listed
from tests import by_hand
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub
from tests.processes import BUSY, until


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_is_listed_until_it_stops_and_logs_the_id_of_the_request_it_works_for(
    start_depot: StartDepot, hub: Hub, database_url: str
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = start_depot()
    until(lambda: _listed(database_url), depot.logs)
    (listed,) = _listed(database_url)
    assert listed.worker.alive
    assert listed.worker.name == f"{listed.worker.host}:{depot.workers[0].pid}"

    answer = depot.client.post("/ai/model", json={"name": "acme/tiny"}, headers={"X-Request-Id": "caller-17"})
    assert depot.wait(answer.json()["id"])["state"] == "success", depot.logs()
    lines = [line for line in map(json.loads, depot.logs().splitlines()) if "operation-id" in line]
    assert {line["event"] for line in lines} >= {"download begins", "model is ready"}
    assert {line["request-id"] for line in lines} == {"caller-17"}

    depot.workers[0].terminate()
    assert depot.workers[0].wait(10 + BUSY) == 0
    assert _listed(database_url) == []


def _listed(database_url: str) -> list[Listed]:
    async def ask(database: Database) -> Any:
        async with database.read() as connection:
            return await workers.list_all(connection)

    return list(by_hand.run(database_url, ask))
