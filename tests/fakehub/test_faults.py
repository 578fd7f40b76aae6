"""Each fault is what it says, to the byte, as often as it says."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.fakehub.hub import Fault, FaultKind, Hub, Synthetic
from tests.processes import BUSY

SIZE = 3_000_000
WEIGHTS = Synthetic(SIZE, seed=1)
DATA = WEIGHTS.read()


@pytest.fixture
def hub() -> Iterator[Hub]:
    before = threading.active_count()
    with Hub() as hub:
        hub.add("acme/model", {"plain.txt": WEIGHTS, "w.safetensors": WEIGHTS}, lfs=["*.safetensors"])
        yield hub
    assert threading.active_count() <= before


def get(url: str, *, follow: bool = True, method: str = "GET", **headers: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=5, follow_redirects=follow) as client:
        return client.request(method, url, headers=headers)


def url(hub: Hub, path: str = "plain.txt") -> str:
    return f"{hub.endpoint}/acme/model/resolve/main/{path}"


def raw(hub: Hub, seconds: float = 5.0) -> tuple[bytes, type[OSError] | None]:
    """All bytes of an answer as they come from the socket, and what ended them if it was not a FIN."""
    received = b""
    with socket.create_connection(("127.0.0.1", int(hub.endpoint.rpartition(":")[2])), seconds) as line:
        line.sendall(b"GET /acme/model/resolve/main/plain.txt HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
        try:
            while block := line.recv(1 << 20):
                received += block
        except OSError as error:
            return received, type(error)
    return received, None


def body(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("kind", "end"),
    [("drop", None), ("reset", ConnectionResetError), ("stall", TimeoutError), ("trickle", TimeoutError)],
)
@pytest.mark.parametrize("after", [0, 1_234_567])
def test_the_line_breaks_after_exactly_so_many_bytes(
    hub: Hub, kind: FaultKind, end: type[OSError] | None, after: int
) -> None:
    hub.misbehave(Fault(kind, after_bytes=after, rate=1))
    received, ended = raw(hub, seconds=0.5 if end is TimeoutError else 5)
    assert (body(received), ended) == (DATA[:after], end)
    assert b"Content-Length: 3000000\r\n" in received
    assert hub.wait(lambda: hub.bytes_sent("plain.txt") == after)
    assert hub.requests[0].fault == kind
    assert body(raw(hub)[0]) == DATA


@pytest.mark.parametrize(("kind", "end"), [("drop", None), ("reset", ConnectionResetError), ("stall", TimeoutError)])
def test_the_line_breaks_before_the_headers(hub: Hub, kind: FaultKind, end: type[OSError] | None) -> None:
    hub.misbehave(Fault(kind, after_bytes=None))
    assert raw(hub, seconds=0.3 if end is TimeoutError else 5) == (b"", end)
    hub.misbehave(Fault(kind, on="head"))
    with pytest.raises(httpx2.TransportError), httpx2.Client(trust_env=False, timeout=0.3) as client:
        client.head(url(hub))


def test_a_stall_can_pass_and_a_trickle_flows(hub: Hub) -> None:
    hub.misbehave(Fault("stall", after_bytes=100, seconds=0.2), Fault("trickle", after_bytes=SIZE - 3000, rate=10_000))
    for _ in range(2):
        began = time.monotonic()
        assert get(url(hub)).content == DATA
        assert time.monotonic() - began > 0.15


def test_whoever_is_stalled_is_let_go_when_the_hub_closes() -> None:
    with ThreadPoolExecutor() as pool:
        with Hub() as hub:
            hub.add("acme/model", {"plain.txt": WEIGHTS})
            hub.misbehave(Fault("stall", after_bytes=10, times=None))
            waiting = [pool.submit(raw, hub, 30.0) for _ in range(3)]
            assert hub.wait(lambda: hub.bytes_sent() == 30)
            began = time.monotonic()
        assert all(len(body(one.result()[0])) <= 10 for one in waiting)
        assert time.monotonic() - began < BUSY, "their own patience is 30 seconds"


def test_statuses_say_when_to_come_back(hub: Hub) -> None:
    hub.misbehave(
        Fault("status", on="any", status=429, retry_after=3),
        Fault("status", on="tree", status=429, ratelimit=55),
        Fault("status", on="cdn", status=500, headers={"X-Request-Id": "1"}),
    )
    tree = f"{hub.endpoint}/api/models/acme/model/tree/main"
    first, second, third = get(tree), get(tree), get(tree)
    assert (first.status_code, first.headers["retry-after"]) == (429, "3")
    assert (second.status_code, second.headers["ratelimit"]) == (429, '"api";r=0;t=55')
    assert third.status_code == 200
    assert get(url(hub)).status_code == 200
    failed = get(url(hub, "w.safetensors"))
    assert (failed.status_code, failed.headers["x-request-id"], failed.url.host) == (500, "1", "localhost")


def test_bodies_are_spoilt(hub: Hub) -> None:
    hub.misbehave(Fault("corrupt", after_bytes=2_000_000), Fault("short", by=10), Fault("long", by=10))
    spoilt = get(url(hub)).content
    assert [place for place in range(SIZE) if spoilt[place] != DATA[place]] == [2_000_000]
    assert get(url(hub)).content == DATA[:-10]
    assert get(url(hub)).content == DATA + bytes(10)

    hub.misbehave(Fault("short", by=10, honest=False), Fault("long", by=10, honest=False))
    for expected in (DATA[:-10], DATA + bytes(10)):
        received, _ = raw(hub)
        assert body(received) == expected
        assert b"Content-Length: 3000000\r\n" in received


def test_a_range_is_ignored_but_only_where_one_was_asked(hub: Hub) -> None:
    hub.misbehave(Fault("ignore_range"))
    assert get(url(hub)).status_code == 200
    whole = get(url(hub), Range="bytes=5-")
    assert (whole.status_code, whole.content, "content-range" in whole.headers) == (200, DATA, False)
    assert get(url(hub), Range="bytes=5-").status_code == 206


def test_redirects_go_round(hub: Hub) -> None:
    hub.misbehave(Fault("redirect_loop", times=None))
    with pytest.raises(httpx2.TooManyRedirects):
        get(url(hub))


def test_a_link_expires_in_the_middle_of_a_file(hub: Hub) -> None:
    hub.misbehave(Fault("drop", after_bytes=1000), Fault("expired", after_bytes=100, times=None))
    link = get(url(hub, "w.safetensors"), follow=False).headers["location"]
    with pytest.raises(httpx2.RemoteProtocolError):
        get(link)
    assert get(link, Range="bytes=1000-").status_code == 403
    assert get(url(hub, "w.safetensors"), Range="bytes=1000-").content == DATA[1000:]


def test_lies_are_told_wherever_a_file_is_announced(hub: Hub) -> None:
    lies = [Fault("lie_size", path="*.safetensors", by=5, times=None), Fault("lie_checksum", path="w.*", times=None)]
    hub.misbehave(*lies)
    model = f"{hub.endpoint}/api/models/acme/model"
    plain, large = get(f"{model}/tree/main").json()
    blobs = get(f"{model}?blobs=true").json()["siblings"]
    head = get(url(hub, "w.safetensors"), method="HEAD", follow=False)

    assert (plain["size"], plain["oid"]) == (SIZE, WEIGHTS.oid)
    lie = (SIZE + 5, WEIGHTS.sha256[::-1])
    assert (large["lfs"]["size"], large["lfs"]["oid"]) == lie
    assert (blobs[1]["lfs"]["size"], blobs[1]["lfs"]["sha256"]) == lie
    assert (int(head.headers["x-linked-size"]), head.headers["x-linked-etag"].strip('"')) == lie
    assert get(url(hub, "w.safetensors")).content == DATA


def test_a_fault_befalls_as_many_requests_as_it_should_however_many_come_at_once(hub: Hub) -> None:
    hub.misbehave(Fault("status", path="plain.*", repo="acme/model", times=7, skip=3, status=500))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: get(url(hub), Range="bytes=0-9").status_code, range(24)))
    assert (statuses.count(500), statuses.count(206)) == (7, 17)
    hub.misbehave(Fault("status", path="*.safetensors", on="any", times=None))
    assert get(url(hub)).status_code == 200
    assert get(url(hub, "w.safetensors")).status_code == 503
    hub.behave()
    assert get(url(hub, "w.safetensors")).status_code == 200


def test_a_file_on_disk_breaks_where_it_should(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(DATA)
    hub.add("acme/model", {"plain.txt": tmp_path / "plain.txt"})
    hub.misbehave(Fault("reset", after_bytes=2_500_000))
    assert body(raw(hub)[0]) == DATA[:2_500_000]
    assert body(raw(hub)[0]) == DATA
