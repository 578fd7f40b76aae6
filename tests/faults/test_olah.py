"""What people get who have Olah in the Hub's place: a mirror that knows some of its routes, and answers in its own way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartDepot
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.faults.conftest import FILES, contents, files_below, published
from tests.faults.engine import UNDER_WAY, Engine
from tests.faults.olah import Olah, install
from worker.download.protocol import Failure

pytestmark = pytest.mark.nightly

TOKEN, OTHER = "hf_planted", "hf_planted_too"
_SLOW = 30.0
"""Seconds that it may take over an answer on a busy machine: it asks the Hub several things for each."""


@dataclass(frozen=True)
class Mirror:
    """Olah, and the Hub that it mirrors."""

    olah: Olah
    hub: Hub


StartEngine = Callable[[str], Engine]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    if problem := install():
        pytest.skip(problem)
    with Hub() as hub, Olah(hub, tmp_path_factory.mktemp("olah")) as olah:
        hub.account(TOKEN, may_read=["acme/private", "acme/gated"], accepted=["acme/gated"])
        hub.account(OTHER)
        yield Mirror(olah, hub)


@pytest.fixture
def engine_for(mirror: Mirror, tmp_path: Path) -> StartEngine:
    """Attempts at a repository, by its name."""
    return lambda name: Engine(mirror.olah, tmp_path / "storage", name, stall_window=_SLOW)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_depot_fetches_whole_repositories_through_it(mirror: Mirror, start_depot: StartDepot) -> None:
    repo = mirror.hub.add("acme/whole", FILES)
    depot = start_depot(hub_endpoint=mirror.olah.endpoint, stall_window=_SLOW)
    operation = depot.create("acme/whole")
    assert depot.wait(operation["id"], 120)["state"] == "success", depot.logs()
    model = depot.model(operation["reference"]["id"])
    assert (model["status"], model["commit"]) == ("ready", repo.branches["main"])
    assert files_below(Path(model["path"])) == contents(repo)


def test_what_it_keeps_is_fetched_from_it_and_not_from_the_hub(mirror: Mirror, engine_for: StartEngine) -> None:
    repo = mirror.hub.add("acme/kept", {"model.safetensors": Synthetic(9 << 20, 1), "config.json": b"{}"})
    for _ in range(2):
        engine = engine_for("acme/kept")
        assert engine.run().done
        assert published(engine) == contents(repo)
    sent = [request for request in mirror.hub.requests if request.repo == "acme/kept" and request.place == "file"]
    assert 0 <= sum(request.bytes_sent for request in sent) - sum(map(len, contents(repo).values())) <= UNDER_WAY


def test_files_that_the_hub_keeps_in_xet(mirror: Mirror, engine_for: StartEngine) -> None:
    repo = mirror.hub.add("acme/xet", {"model.safetensors": Synthetic(5 << 20, 2), "config.json": b"{}"}, xet=True)
    engine = engine_for("acme/xet")
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_name_or_revision_that_is_not_there_is_not_found(mirror: Mirror, engine_for: StartEngine) -> None:
    mirror.hub.add("acme/there", {"config.json": b"{}"})
    engine = engine_for("acme/nowhere")
    for token in (None, TOKEN):
        outcome = engine.run(token=token)
        assert outcome.reason == "not-found"
        assert "check its name" in outcome.text
    assert engine_for("acme/there").run(revision="nope").reason == "not-found"


@pytest.mark.parametrize(("name", "refusal"), [("acme/gated", "forbidden"), ("acme/private", "not-found")])
def test_files_that_it_has_kept_for_one_caller_are_not_given_to_another(
    mirror: Mirror, engine_for: StartEngine, name: str, refusal: str
) -> None:
    repo = mirror.hub.add(name, FILES, gated=name == "acme/gated", private=name == "acme/private")
    engine = engine_for(name)
    assert engine.run(token=TOKEN).done
    assert published(engine) == contents(repo)
    for token in (None, OTHER, "hf_wrong"):
        outcome = engine_for(name).run(token=token)
        # It says the same of a wrong token as of a missing repository.
        assert outcome.reason == ("not-found" if token == "hf_wrong" else refusal)
        assert [type(message) for message in outcome.messages] == [Failure], "nothing was linked or planned"


@pytest.mark.parametrize("folders", [5, 1])
def test_more_files_than_a_page_are_listed_by_folder_and_none_is_left_out(
    mirror: Mirror, engine_for: StartEngine, folders: int
) -> None:
    """It answers each page with the first one, so part of the files could be taken for all of them."""
    files = {f"{number % folders}/{number % 2}/{number}.txt": b"%d" % number for number in range(25)}
    repo = mirror.hub.add(f"acme/many-{folders}", files)
    mirror.hub.page_size = 10
    engine = engine_for(repo.name)
    outcome = engine.run()
    mirror.hub.page_size = 1000
    if folders == 5:
        assert published(engine) == contents(repo)
    else:
        assert outcome.reason == "unsupported"
        assert "DEPOT_HUB_ENDPOINT" in outcome.text


def test_a_hub_behind_it_that_is_away_is_waited_for(mirror: Mirror, engine_for: StartEngine) -> None:
    mirror.hub.add("acme/away", FILES)
    mirror.hub.misbehave(Fault("status", on="any", status=503, times=None))
    outcome = engine_for("acme/away").run()
    mirror.hub.behave()
    assert (outcome.reason, outcome.last(Failure).again) == ("unavailable", True), outcome.messages
    assert engine_for("acme/away").run().done
