"""A Hub that sends its worker inside: to loopback, link-local and metadata addresses. Here they are 127.0.0.2.

The Hub is known by a name that only a proxy resolves, so that it is not inside itself.
"""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.faults.conftest import contents, published
from tests.faults.engine import Engine
from tests.faults.relays import Proxy
from tests.hub import Fault, Hub, Repo

NAMED = "http://hub.example"


class Resolving(Proxy):
    """A proxy that knows where the Hub's name leads."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = urlsplit(hub.endpoint).netloc

    def resolve(self, url: str) -> str:
        return url.replace("hub.example", self._hub)


@pytest.fixture
def named(hub: Hub, engine: Engine) -> Iterator[Engine]:
    """An engine that knows the Hub by its name; what else it asks for, it asks for directly."""
    with Resolving(hub) as proxy:
        engine.environment |= {"http_proxy": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "127.0.0.0/8,localhost"}
        yield engine


@pytest.fixture
def inside() -> Iterator[tuple[str, socket.socket]]:
    """The address of a server inside, and its socket."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        listener.settimeout(0)
        yield f"http://127.0.0.2:{listener.getsockname()[1]}/latest/meta-data", listener


@pytest.mark.parametrize("on", ["revision", "tree", "auth"])
def test_a_redirect_inside_is_refused(hub: Hub, named: Engine, inside: tuple[str, socket.socket], on: str) -> None:
    address, listener = inside
    hub.misbehave(Fault("status", on=on, status=302, headers={"Location": address}, times=None))  # type: ignore[arg-type]
    outcome = named.run(endpoint=NAMED)
    assert outcome.reason == "unavailable"
    assert "DEPOT_HUB_REDIRECTS_INSIDE" in outcome.text
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_operator_may_allow_it(hub: Hub, repo: Repo, named: Engine) -> None:
    elsewhere = f"{hub.endpoint}/api/models/{repo.name}/revision/main"
    hub.misbehave(Fault("status", on="revision", status=302, headers={"Location": elsewhere}))
    assert named.run(endpoint=NAMED, redirects_inside=True).done
    assert published(named) == contents(repo)


def test_a_hub_that_is_inside_itself_may_redirect_there(hub: Hub, repo: Repo, engine: Engine) -> None:
    assert engine.run().done
    assert {request.origin for request in hub.requests} == {"hub", "cdn"}
    assert published(engine) == contents(repo)
