"""A Hub that sends its worker inside: to loopback, link-local and metadata addresses. Here they are 127.0.0.2.

The Hub is known by a name that only a proxy resolves, so that it is not inside itself.
"""

import random
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import get_session

from app.domain.errors import Failed
from tests.fakehub.hub import Fault, Hub, Repo
from tests.faults.conftest import contents, published
from tests.faults.engine import Engine
from tests.faults.relays import Proxy
from worker.download.client import Guard, make_client
from worker.download.stalls import StallLimit

SCHEMES = ["http"]
"""Its name is known to a proxy that speaks plain http."""
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


def test_a_content_store_inside_is_refused(hub: Hub, named: Engine, inside: tuple[str, socket.socket]) -> None:
    """hf_xet connects to it by itself, so it is looked at before."""
    repo = hub.add("acme/stored", {"model.safetensors": random.Random(1).randbytes(2 << 20)}, xet=True)
    address, listener = inside
    token = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": "xet-1", "X-Xet-Token-Expiration": "99999999999"}
    hub.misbehave(Fault("rewrite", on="xet", headers=token, times=None))
    outcome = named.run(name=repo.name, endpoint=NAMED)
    assert outcome.reason == "unavailable"
    assert "127.0.0.2" in outcome.text
    assert any(request.place == "xet" for request in hub.requests)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.usefixtures("client_of_its_own")
def test_a_name_that_leads_inside_only_when_it_is_connected_to(
    inside: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is an address elsewhere, the next one is inside. Nothing is sent there."""
    address, listener = inside
    port = urlsplit(address).port
    answers = iter(["192.0.2.1", "127.0.0.2"])

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (next(answers), port))]

    make_client(
        "http://192.0.2.7",
        StallLimit(5, 1),
        ssl.create_default_context(),
        Guard("http://192.0.2.7", redirects_inside=False),
    )
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Failed, match="DEPOT_HUB_REDIRECTS_INSIDE"):
        get_session().get(f"http://rebound.example:{port}/latest")
    monkeypatch.undo()
    listener.settimeout(10)
    line, _ = listener.accept()
    with line:
        line.settimeout(10)
        assert line.recv(1) == b""


def test_the_operator_may_allow_it(hub: Hub, repo: Repo, named: Engine) -> None:
    elsewhere = f"{hub.endpoint}/api/models/{repo.name}/revision/main"
    hub.misbehave(Fault("status", on="revision", status=302, headers={"Location": elsewhere}))
    assert named.run(endpoint=NAMED, redirects_inside=True).done
    assert published(named) == contents(repo)


def test_a_hub_that_is_inside_itself_may_redirect_there(hub: Hub, repo: Repo, engine: Engine) -> None:
    assert engine.run().done
    assert {request.origin for request in hub.requests} == {"hub", "cdn"}
    assert published(engine) == contents(repo)
