"""Every way in which a create ends badly: the contract's reason, and a message that its reader can act on."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.sealing import new_key
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub

TOKEN = "hf_knownToTheHub"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass(frozen=True)
class Case:
    """A create, the reason that it ends with, and what the message must say."""

    name: str
    reason: str
    says: tuple[str, ...]
    keys: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("nobody/nothing", "not-found", ("'nobody/nothing'", "check its name"), {"huggingface_token": TOKEN}),
    # Without a token the Hub does not tell what is not there from what is private.
    Case("nobody/unseen", "not-found", ("'nobody/unseen'", "check its name", "Hub token")),
    Case("acme/tiny", "not-found", ("no revision 'v9'", "/acme/tiny/tree/main"), {"revision": "v9"}),
    Case("acme/gated", "forbidden", ("gated", "accept its licence", "retry with a Hub token", "/acme/gated")),
    Case("acme/gated-too", "forbidden", ("gated", "accept its licence"), {"huggingface_token": TOKEN}),
    Case("acme/tiny", "forbidden", ("does not accept", "wrong or has expired"), {"huggingface_token": "hf_wrong12345"}),
    Case("acme/private", "not-found", ("'acme/private'", "Hub token")),
    Case("acme/private-too", "not-found", ("account may see it",), {"huggingface_token": TOKEN}),
    Case("acme/tiny", "incorrect", ("leave no file", "config.json"), {"include": ["*.gguf"]}),
    Case("acme/tiny", "incorrect", ("leave no file", "config.json"), {"exclude": ["*.json"]}),
    Case("acme/empty", "incorrect", ("holds no files",)),
    Case("acme/disabled", "unsupported", ("disabled",)),
    Case("acme/broken", "unavailable", ("answered 500", "attempts failed", "retry to go on")),
    Case("acme/limited", "busy", ("limits our rate", "attempts failed", "retry to go on")),
)


def test_every_failure_has_its_reason_and_says_what_to_do(start_depot: StartDepot, hub: Hub) -> None:
    hub.account(TOKEN)
    for name in ("tiny", "gated", "gated-too", "private", "private-too", "disabled", "broken", "limited"):
        repo = hub.add(f"acme/{name}", {"config.json": b"{}"}, disabled=name == "disabled")
        repo.gated, repo.private = name.startswith("gated"), name.startswith("private")
    hub.add("acme/empty", {})
    hub.misbehave(Fault("status", on="any", repo="acme/broken", status=500, times=None))
    hub.misbehave(Fault("status", on="any", repo="acme/limited", status=429, times=None))
    depot = start_depot(attempts=2, slots=8)
    ended = []
    for case in CASES:
        operation = depot.create(case.name, **case.keys)
        if any(case.name == other.name for other in CASES if other is not case):
            # The same selection may come with several tokens, one after the other.
            depot.wait(operation["id"])
        ended.append(operation)
    for case, operation in zip(CASES, ended, strict=True):
        _failed(depot, operation, case.reason, *case.says)


@SQLITE
def test_a_hub_that_nobody_answers_for_is_unavailable(start_depot: StartDepot) -> None:
    depot = start_depot(hub_endpoint="http://127.0.0.1:9", attempts=2)
    operation = depot.create("acme/tiny")
    _failed(depot, operation, "unavailable", "http://127.0.0.1:9 can't be reached", "Connection refused", "retry")


@SQLITE
def test_a_disk_that_is_full_before_the_start_is_told_in_bytes_and_nothing_is_fetched(
    start_depot: StartDepot, hub: Hub
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}", "model.safetensors": b"x" * 1000})
    depot = start_depot(reserve=1 << 60)
    operation = depot.create("acme/tiny")
    _failed(depot, operation, "fault", "1.0 kB are needed and 0 B are free", "reserve of 1153 PB", "free some")
    assert hub.bytes_sent() == 0


@SQLITE
def test_a_token_that_was_sealed_with_another_key_is_a_fault_that_names_the_setting(
    start_depot: StartDepot, hub: Hub, database_url: str
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    api = start_depot(workers=0)
    start_depot(api=False, secret_key=new_key(), database_url=database_url)
    operation = api.create("acme/tiny", huggingface_token=TOKEN)
    _failed(api, operation, "fault", "can't be opened", "DEPOT_SECRET_KEY")
    assert hub.requests == []


@pytest.mark.parametrize("fault", ["gated", "status"])
@SQLITE
def test_a_model_in_error_becomes_ready_under_the_same_id(start_depot: StartDepot, hub: Hub, fault: str) -> None:
    hub.account(TOKEN, accepted=["acme/tiny"])
    hub.add("acme/tiny", {"config.json": b"{}", "model.safetensors": b"x" * 1000}, gated=fault == "gated")
    if fault == "status":
        hub.misbehave(Fault("status", status=404, path="model.safetensors", on="any", times=None))
    depot = start_depot()
    first = depot.create("acme/tiny")
    assert depot.wait(first["id"])["state"] == "failure"
    hub.behave()
    second = depot.create("acme/tiny", huggingface_token=TOKEN)
    assert second["reference"]["id"] == first["reference"]["id"]
    assert second["id"] != first["id"]
    assert depot.wait(second["id"])["state"] == "success", depot.logs()
    model = depot.model(first["reference"]["id"])
    assert (model["status"], model.get("reason"), model.get("message")) == ("ready", None, None)
    assert depot.wait(first["id"])["state"] == "failure"


def _failed(depot: Depot, operation: dict[str, Any], reason: str, *says: str) -> None:
    ended = depot.wait(operation["id"])
    assert (ended["state"], ended["reason"]) == ("failure", reason), ended
    for words in says:
        assert words in ended["message"]
    model = depot.model(ended["reference"]["id"])
    if model["message"] == ended["message"]:  # no later create has tried it once more
        assert (model["status"], model["reason"]) == ("error", reason)
