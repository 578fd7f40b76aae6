"""What is not kept is fetched for a client that asks, where that is allowed, and never otherwise."""

import pytest

from tests.conftest import StartDepot
from tests.fakehub.hub import Hub
from tests.hub_api.conftest import BERT, FILES, Kept
from tests.processes import until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_CONFIG = f"/{BERT}/resolve/main/config.json"
_TOKEN = "hf_theDepotsOwnTokenForTheHub"


def test_an_unknown_name_is_fetched_once_with_the_depot_s_own_token(start_depot: StartDepot, hub: Hub) -> None:
    hub.add(BERT, FILES[BERT], private=True)
    hub.account(_TOKEN, may_read=[BERT])
    kept = Kept(start_depot(pull_through="on", hub_token=_TOKEN), hub)
    told = kept.get(_CONFIG)
    assert (told.status_code, told.headers["x-error-code"]) == (404, "RepoNotFound")
    assert told.json()["error"] == f"{BERT} is arriving: try again in a minute."
    until(lambda: kept.get(_CONFIG).content == FILES[BERT]["config.json"], kept.depot.logs)
    (model,) = kept.depot.client.get("/ai/model").json()["models"]
    assert (model["name"], model["status"]) == (BERT, "ready")
    assert _TOKEN not in kept.depot.logs()


def test_what_could_not_be_fetched_says_why_and_is_not_tried_for_each_request(
    start_depot: StartDepot, hub: Hub
) -> None:
    kept = Kept(start_depot(pull_through="on"), hub)
    path = "/acme/none/resolve/main/config.json"
    assert "is arriving" in kept.get(path).json()["error"]
    until(lambda: "is not here" in kept.get(path).json()["error"], kept.depot.logs)
    (model,) = kept.depot.client.get("/ai/model").json()["models"]
    kept.get(path)
    assert kept.depot.model(model["id"])["updated-at"] == model["updated-at"]


def test_only_what_the_operator_names_is_fetched_and_for_keys_only(start_depot: StartDepot, hub: Hub) -> None:
    hub.add(BERT, FILES[BERT])
    kept = Kept(start_depot(pull_through="on", pull_through_names="other/*, meta-*/*", anonymous_pull="on"), hub)
    for headers in ({}, {"Authorization": ""}):
        assert "does not keep" in kept.get(_CONFIG, **headers).json()["error"]
    assert "does not keep" in kept.get("/other/x/resolve/main/config.json", Authorization="").json()["error"]
    assert kept.depot.client.get("/ai/model").json()["models"] == []
    assert "is arriving" in kept.get("/other/x/resolve/main/config.json").json()["error"]
