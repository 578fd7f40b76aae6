"""The proxy of deploy/docker-compose.tls.yml, as its Caddyfile says, in front of two APIs that are restarted one by one."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx2
import pytest

from tests.depot import CREDENTIALS, Depot
from tests.processes import BUSY, free_port, until
from tests.servers import Redis

_CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
_HOSTS = ("127.0.0.2", "127.0.0.3")
_INTERVAL = 0.25
pytestmark = [
    pytest.mark.skipif(shutil.which("caddy") is None, reason="there is no caddy on this machine"),
    pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address only"),
]


@pytest.fixture
def resolver() -> Iterator[int]:
    """The port of a name server that has one answer to every question: the addresses of the APIs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        thread = threading.Thread(target=_answer_all, args=(server,))
        thread.start()
        yield port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
        thread.join()


@pytest.fixture
def apis(database_url: str, redis_server: Redis, tmp_path: Path) -> Iterator[list[Depot]]:
    """Two of one depot, at the same port of two addresses."""
    depots: list[Depot] = []
    port = _port_of_all()
    for host in _HOSTS:
        folder = tmp_path / host
        folder.mkdir()
        depots.append(
            Depot(
                folder,
                database_url=database_url,
                redis_url=redis_server.url,
                hub_endpoint="http://127.0.0.1:9",
                workers=0,
                host=host,
                port=port,
            )
        )
    yield depots
    for depot in depots:
        depot.close()


@pytest.fixture
def proxy(apis: list[Depot], resolver: int, tmp_path: Path) -> Iterator[httpx2.Client]:
    """Caddy, and what asks it."""
    address = f"http://127.0.0.1:{free_port()}"
    asked = f"keepalive off\nresolvers udp/127.0.0.1:{resolver}"
    (tmp_path / "Caddyfile").write_text(_CADDYFILE.read_text().replace("keepalive off", asked))
    environment = os.environ | {
        "DEPOT_DOMAIN": address,
        "DEPOT_API": f"api.front:{apis[0].port}",
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    with (tmp_path / "caddy.log").open("wb") as log:
        words = ["caddy", "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
        caddy = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        with closing(httpx2.Client(base_url=f"{address}/v2", timeout=60, headers=CREDENTIALS)) as client:
            until(lambda: _reaches(client), (tmp_path / "caddy.log").read_text)
            yield client
    finally:
        caddy.terminate()
        caddy.wait(30)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_clients_do_not_notice_that_an_api_restarts(apis: list[Depot], proxy: httpx2.Client) -> None:
    model = f"/ai/model/{proxy.post('/ai/model', json={'name': 'acme/first'}).json()['reference']['id']}"
    with Polling(lambda: proxy.get(model)) as polls, Polling(lambda: _create(proxy)) as creates:
        for depot in apis:
            _stop(depot)
            depot.start_api()
            polls.go_on()
            creates.go_on()
    assert set(polls.statuses) | set(creates.statuses) == {200}
    assert all('"POST"' in depot.logs() for depot in apis), "one of them was never asked"

    with Polling(lambda: proxy.get(model)) as polls:
        for depot in apis:  # which leaves none
            _stop(depot)
        for depot in apis:
            depot.start_api()
        polls.go_on()
    assert set(polls.statuses) == {200}


class Polling:
    """Asks four times a second, in a thread, and keeps the answers' statuses; 0 stands for no answer."""

    def __init__(self, ask: Callable[[], httpx2.Response]) -> None:
        self.statuses: list[int] = []
        self._ask, self._stop = ask, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def go_on(self) -> None:
        """Wait for some more answers."""
        served = len(self.statuses)
        until(lambda: len(self.statuses) > served + 2, lambda: str(self.statuses), 60)

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL):
            try:
                self.statuses.append(self._ask().status_code)
            except httpx2.TransportError:
                self.statuses.append(0)


def _create(client: httpx2.Client) -> httpx2.Response:
    return client.post("/ai/model", json={"name": f"acme/{uuid4().hex}"})


def _stop(depot: Depot) -> None:
    assert depot.api is not None
    depot.api.terminate()
    assert depot.api.wait(10 + BUSY) == 0


def _reaches(client: httpx2.Client) -> bool:
    try:
        return client.get("/zone").status_code == 200
    except httpx2.TransportError:
        return False


def _port_of_all() -> int:
    """One that is free at each of the addresses."""
    while True:
        port = free_port()
        try:
            for host in _HOSTS:
                socket.create_server((host, port)).close()
        except OSError:
            continue
        return port


def _answer_all(server: socket.socket) -> None:
    """Until an empty packet comes. The first address is another one each time."""
    order = list(_HOSTS)
    while True:
        question, client = server.recvfrom(512)
        if not question:
            return
        name_ends = question.index(b"\0", 12) + 5
        kind = question[name_ends - 4 : name_ends - 2]
        order.reverse()
        hosts = order if kind == b"\0\1" else []
        head = question[:2] + b"\x85\x80\0\1" + len(hosts).to_bytes(2, "big") + b"\0\0\0\0"
        # Each answer: the question's name, type A, class IN, no time to live, four bytes.
        answers = [b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(host) for host in hosts]
        server.sendto(head + question[12:name_ends] + b"".join(answers), client)
