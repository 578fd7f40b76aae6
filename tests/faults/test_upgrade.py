"""An upgrade: what the version before the rooms were made left, after a kill of all its processes, goes on under this one."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartDepot
from tests.depot import KEY, SECRET
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.conftest import files_below
from tests.processes import until
from tests.sources import version_before

MIB = 1 << 20

pytestmark = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def browser() -> Iterator[httpx2.Client]:
    with httpx2.Client() as client:
        yield client


def test_what_the_version_before_left_goes_on_under_this_one(
    start_depot: StartDepot, hub: Hub, browser: httpx2.Client, tmp_path: Path
) -> None:
    hub.add("acme/ready", {"config.json": b"{}", "model.safetensors": Synthetic(3 * MIB)})
    hub.add("acme/arriving", {"model.safetensors": Synthetic(24 * MIB, 2)})
    depot = start_depot(api=False, workers=0, connections=1, look_interval=0.7)
    depot.sources = version_before("app/db/errors.py", tmp_path / "old")
    depot.start_api()
    depot.start_worker()
    ready = depot.create("acme/ready")
    assert depot.wait(ready["id"])["state"] == "success", depot.logs()
    deployment = depot.client.post(
        "/ai/deployment", json={"name": "chat", "gpu-type": "gpua5000", "gpu-count": 1, "model": {"name": "acme/ready"}}
    ).json()
    key = depot.client.post("/ai/api-key", json={"name": "for the site"}).json()
    signed_in = browser.post(
        depot.address("/console/sign-in"), data={"key": KEY, "secret": SECRET}, headers={"Origin": depot.address("")}
    )
    assert signed_in.status_code == 303, signed_in.text
    hub.total_rate = 4 * MIB
    arriving = depot.create("acme/arriving")
    until(lambda: (depot.model(arriving["reference"]["id"]).get("downloaded") or 0) >= 8 * MIB, depot.logs)
    assert depot.api is not None
    for process in (*depot.workers, depot.api):
        process.kill()
        process.wait()

    hub.total_rate = None
    depot.sources = None
    depot.start_api()
    depot.start_worker()
    assert depot.wait(arriving["id"], 60)["state"] == "success", depot.logs()
    assert hub.bytes_sent("model.safetensors") < 3 * MIB + 24 * MIB + 8 * MIB, "it went on from what was there"
    for operation, size in ((ready, 3 * MIB + 2), (arriving, 24 * MIB)):
        model = depot.model(operation["reference"]["id"])
        assert (model["status"], model["model-size"]) == ("ready", size)
        assert sum(map(len, files_below(Path(model["path"])).values())) == size
    with httpx2.Client(base_url=depot.address("/v2"), auth=None) as site:
        site.headers["Authorization"] = f"Bearer {key['value']}"
        assert len(site.get("/ai/model").json()["models"]) == 2
    assert browser.get(depot.address("/console")).status_code == 200, "it is still signed in"
    refused = depot.client.delete(f"/ai/model/{ready['reference']['id']}")
    assert (refused.status_code, refused.json()["deployments"]) == (412, [deployment["reference"]["id"]])
    assert "DEPOT_LOOK_INTERVAL is called DEPOT_POLL_INTERVAL now" in depot.logs()
