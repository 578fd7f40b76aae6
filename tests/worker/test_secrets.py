"""A caller's token: seen by the Hub, and by nobody and nothing else."""

import os
import secrets
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import text

from app.db.session import open_database
from tests.conftest import StartDepot
from tests.faults.watching import family, writers
from tests.hub import Fault, Hub, Synthetic
from tests.processes import said, until


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_token_is_nowhere_but_sealed_in_its_operation_and_gone_with_it(
    start_depot: StartDepot, hub: Hub, redis_url: str, database_url: str
) -> None:
    # Not in the form of the Hub's own tokens, which the logs strike out wherever they stand.
    token = secrets.token_hex(17)
    hub.account(token, may_read=["acme/private"])
    hub.add("acme/private", {"config.json": b"{}", "model.safetensors": Synthetic(8 << 20)}, private=True)
    hub.misbehave(Fault("stall", after_bytes=1 << 20, path="model.safetensors"))
    hub.misbehave(Fault("status", status=500, on="tree"))
    depot = start_depot(connections=1, stall_window=60)
    told = [depot.client.post("/ai/model", json={"name": "acme/private", "huggingface-token": token})]
    operation = told[0].json()
    model_id = operation["reference"]["id"]
    until(lambda: model_id in writers(depot.storage), depot.logs)

    for process in (depot.api, *depot.workers):
        assert process is not None
        for pid in family(process.pid):
            assert token not in said(pid, "cmdline") + said(pid, "environ")
            assert depot.environment["DEPOT_SECRET_KEY"] not in said(pid, "cmdline")
            if pid != process.pid:
                assert depot.environment["DEPOT_SECRET_KEY"] not in said(pid, "environ")
    database = open_database(database_url)
    sealed = text("SELECT sealed_token FROM operations WHERE id = :id").bindparams(id=operation["id"].replace("-", ""))
    async with database.read() as connection:
        held = (await connection.execute(sealed)).scalar_one()
    assert held.startswith("v1.")
    assert _holding(token, Path(database_url.removeprefix("sqlite:///")).parent) == []
    with Redis.from_url(redis_url) as redis:
        assert all(token.encode() not in (redis.dump(key) or b"") + key for key in redis.scan_iter())

    hub.behave()
    routes = ("/ai/model", f"/ai/model/{model_id}", f"/operation/{operation['id']}")
    told += [depot.client.get(route) for route in routes]
    # Ends the stalled connection and with it the attempt; the next one needs the token again.
    depot.workers[0].kill()
    depot.start_worker()
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    async with database.read() as connection:
        assert (await connection.execute(sealed)).scalar_one() is None
    await database.close()
    told += [depot.client.get(route) for route in ("/ai/model", f"/ai/model/{model_id}/files", f"/ai/model/{model_id}")]
    told.append(depot.client.get(f"/ai/model/{model_id}/events"))
    assert all(token not in answer.text + str(answer.headers) for answer in told)
    assert token not in depot.logs()
    assert _holding(token, depot.folder.parent) == []
    assert any(request.authorization == f"Bearer {token}" for request in hub.requests)
    assert not any(request.authorization for request in hub.requests if request.origin == "cdn")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_token_that_failed_is_wiped_as_well(start_depot: StartDepot, hub: Hub, database_url: str) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = start_depot()
    token = "hf_" + secrets.token_hex(17)
    ended = depot.wait(depot.create("acme/tiny", huggingface_token=token)["id"])
    assert (ended["state"], ended["reason"]) == ("failure", "forbidden")
    assert token not in str(ended) + depot.logs()
    database = open_database(database_url)
    async with database.read() as reading:
        assert (await reading.execute(text("SELECT count(sealed_token) FROM operations"))).scalar_one() == 0
    await database.close()


def _holding(token: str, folder: Path) -> list[str]:
    """The files below `folder` that hold the token as it is."""
    paths = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return [str(path) for path in paths if path.is_file() and token.encode() in path.read_bytes()]
