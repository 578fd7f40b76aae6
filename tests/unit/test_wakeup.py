"""The doorbell: rings through a Redis that is there, and delays nothing when it is not."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from redis import Redis as Client

from app.wakeup import QUEUE, WAKE, Wakeup, connect, deserialize
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub
from tests.processes import BUSY, free_port, until
from tests.servers import Redis

_LONG = 600
"""Seconds between looks: what is found sooner was rung for."""


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a Redis that accepts connections and says nothing, as behind a dead firewall."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        yield port


async def test_a_ring_is_a_job_in_json_that_names_no_secret(redis_url: str) -> None:
    wakeup = Wakeup(connect(redis_url))
    await wakeup.send()
    await wakeup.close()
    with Client.from_url(redis_url) as client:
        (job,) = client.zrange(QUEUE, 0, -1)
        stored = client.get(b"arq:job:" + job)
    assert deserialize(stored)["f"] == WAKE
    assert set(deserialize(stored)) == {"t", "f", "a", "k", "et"}


async def test_each_of_many_rings_is_a_job_though_they_go_together(redis_url: str) -> None:
    wakeup = Wakeup(connect(redis_url))
    with Client.from_url(redis_url) as client:
        before = client.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"]
        await asyncio.gather(*(wakeup.send() for _ in range(50)))
        assert client.zcard(QUEUE) == 50
        assert all(client.pttl(b"arq:job:" + job) > 0 for job in client.zrange(QUEUE, 0, -1))
        assert client.info("commandstats")["cmdstat_exec"]["calls"] <= before + 2
    await wakeup.close()


async def test_a_redis_that_refuses_raises_nothing() -> None:
    wakeup = Wakeup(connect(f"redis://127.0.0.1:{free_port()}"))
    await wakeup.send()
    await wakeup.close()


async def test_a_redis_that_is_silent_is_waited_for_a_second_and_then_not_at_all(silent: int) -> None:
    wakeup = Wakeup(connect(f"redis://127.0.0.1:{silent}"))
    began = time.monotonic()
    await wakeup.send()
    first = time.monotonic() - began
    for _ in range(30):
        await wakeup.send()
    others = time.monotonic() - began - first
    await wakeup.close()
    assert 0.9 < first < 9, "a socket's own patience is ten seconds"
    assert others < BUSY, "each would wait for a second"


async def test_a_ring_goes_through_again_once_redis_is_back() -> None:
    with Redis() as server:
        wakeup = Wakeup(connect(server.url))
        await wakeup.send()
        server.server.stop()
        await wakeup.send()
        server.server.start()
        deadline = time.monotonic() + 20
        with Client.from_url(server.url) as client:
            before = client.zcard(QUEUE)
            while client.zcard(QUEUE) == before:
                assert time.monotonic() < deadline
                await wakeup.send()
        await wakeup.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["refuses", "silent"])
def test_a_create_does_not_need_redis(start_depot: StartDepot, hub: Hub, silent: int, kind: str) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    port = silent if kind == "silent" else free_port()
    depot = start_depot(redis_url=f"redis://127.0.0.1:{port}")
    began = time.monotonic()
    operation = depot.create("acme/tiny")
    seconds = time.monotonic() - began
    print(f"a create without Redis ({kind}): {seconds:.2f} s")
    assert seconds < 9, "a socket's own patience is ten seconds"
    assert depot.wait(operation["id"])["state"] == "success"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_ring_wakes_a_worker_long_before_its_next_look(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = start_depot(poll_interval=_LONG)
    until(lambda: "worker is ready" in depot.logs(), depot.logs)
    assert depot.wait(depot.create("acme/tiny")["id"], seconds=30)["state"] == "success"
