"""Hostile and slow clients, against the real process: what is not HTTP, too large, or takes too long."""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from app.http.connection import MAX_HEAD, MAX_HEADERS
from app.http.server import configured
from tests import processes
from tests.api.raw import BUSY, GET, POST, api_alone, connect, heard, is_refused
from tests.api.test_signature import HEADERS, PATHS, QUERIES
from tests.depot import Depot
from tests.processes import until

PATIENCE = 1.0
"""Seconds that the server gives its clients."""


@pytest.fixture(scope="module")
def depot(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    with api_alone(migrated_sqlite, tmp_path_factory.mktemp("server"), PATIENCE) as depot:
        yield depot


def drip(client: socket.socket, piece: Callable[[], bytes]) -> bytes:
    """A piece now and then, until the server closes; what it said."""
    deadline, said = time.monotonic() + BUSY, b""
    while time.monotonic() < deadline:
        try:
            client.sendall(piece())
            while select.select([client], [], [], PATIENCE / 10)[0]:
                part = client.recv(65_536)
                if not part:
                    return said
                said += part
        except ConnectionError:
            return said
    pytest.fail(f"the server had patience for {BUSY} seconds; it said {said!r}")


SLOW: dict[str, tuple[bytes, Callable[[], bytes], int | None]] = {
    # what comes at once, what drips after it, and the answer
    "headers that never end": (GET, lambda: b"X-A: b\r\n", 408),
    "a header that never ends": (GET + b"X-A: ", lambda: b"b", 408),
    "a request line that never ends": (b"GET /", lambda: b"x", 408),
    "nothing at all": (b"", lambda: b"", 408),
    "empty lines": (b"", lambda: b"\r\n", 408),
    "empty lines after an answer": (GET + b"\r\n", lambda: b"\r\n", 200),
    "headers that never end after an answer": (GET + b"\r\n" + GET, lambda: b"X-A: b\r\n", 200),
    "a body that never ends": (POST + b"Content-Length: 100000\r\n\r\n", lambda: b" ", 408),
    "chunks that never end": (POST + b"Transfer-Encoding: chunked\r\n\r\n", lambda: b"1\r\n \r\n", 408),
    "a body after its answer": (GET + b"Content-Length: 100000\r\n\r\n", lambda: b" ", 200),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_client_that_drips_is_cut_off(depot: Depot, name: str) -> None:
    first, piece, status = SLOW[name]
    with connect(depot.port) as client:
        began = time.monotonic()
        client.sendall(first)
        said = drip(client, piece)
    assert time.monotonic() - began >= PATIENCE * 0.9
    if status == 408:
        is_refused(said, 408)
    else:
        assert said.startswith(b"HTTP/1.1 200 "), said


def test_others_are_answered_while_hundreds_drip(depot: Depot) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(depot.port)) for _ in range(300)]
        for client in slow:
            client.sendall(GET + b"X-A: ")
        assert depot.client.get("/ai/model").status_code == 200
        assert all(b" 408 " in heard(client) for client in slow)


def test_as_many_connections_are_taken_as_the_system_allows(depot: Depot) -> None:
    assert depot.api is not None
    (line,) = [
        line for line in processes.said(depot.api.pid, "limits").splitlines() if line.startswith("Max open files")
    ]
    soft, hard = line.split()[3:5]
    assert int(soft) == min(int(hard), 65_536)


def test_a_client_that_does_not_take_its_answer_is_cut_off(depot: Depot) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", depot.port))
        port = client.getsockname()[1]
        # More than fits between the two: what is left waits in the server, and seven requests behind it.
        for _ in range(8):
            client.sendall(b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: depot\r\n\r\n")
        until(lambda: is_connected(depot.port, port), depot.logs)
        until(lambda: not is_connected(depot.port, port), depot.logs, BUSY)


def is_connected(port: int, other: int) -> bool:
    """Whether the kernel holds the server's end of this connection."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any([f":{port:04X}", f":{other:04X}"] == [end[-5:] for end in line.split()[1:3]] for line in lines)


def test_a_connection_that_breaks_within_a_body_is_no_bug(depot: Depot) -> None:
    with connect(depot.port) as client:
        client.sendall(POST + b'Content-Length: 100\r\n\r\n{"name"')
    until(lambda: '"path": "/v2/ai/model", "status": 400' in depot.logs(), depot.logs)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"BREW /pot HTCPCP/1.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: depot\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: depot\r\nno colon\r\n\r\n", 400),
        (GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (GET + b"Content-Length: -1\r\n\r\n", 400),
        (GET + b"X-A: " + b"a" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET /?" + b"a" * MAX_HEAD + b" HTTP/1.1\r\nHost: depot\r\n\r\n", 431),
        (GET + b"".join(b"X-%d: a\r\n" % number for number in range(MAX_HEADERS)) + b"\r\n", 431),
    ],
)
def test_what_can_not_be_read_is_told_so_in_the_shape_of_all_errors(depot: Depot, said: bytes, status: int) -> None:
    with connect(depot.port) as client:
        client.sendall(said)
        is_refused(heard(client), status)


def test_a_head_without_end_takes_no_memory(depot: Depot) -> None:
    sent = count()
    with connect(depot.port) as client:
        client.sendall(GET + b"X-A: ")
        try:
            while next(sent) < 1000:
                client.sendall(b"a" * 65_536)
        except ConnectionError:
            pass
    assert next(sent) < 1000


def test_large_headers_within_the_bounds_are_read(depot: Depot) -> None:
    headers = {f"x-{number}": "a" * 600 for number in range(MAX_HEADERS - 10)}
    assert depot.client.get("/ai/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/static-offline-docs/swagger-ui.css", 200),
        ("GET", "/v2/ai/model", 401),
        ("GET", "/nothing", 404),
        ("PUT", "/v2/ai/model", 405),
    ],
)
def test_every_answer_has_the_headers_that_protect_it(depot: Depot, method: str, path: str, status: int) -> None:
    answer = httpx2.request(method, f"http://127.0.0.1:{depot.port}{path}", headers={"Origin": "http://evil.example"})
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_page_of_another_origin_may_not_ask(depot: Depot) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = httpx2.options(f"http://127.0.0.1:{depot.port}/v2/ai/model", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


RAW = st.binary(max_size=80)
METHODS = st.sampled_from([b"GET", b"POST", b"DELETE", b"HEAD", b"TRACE", b"OPTIONS", b"CONNECT", b"PRI", b"BREW"])


@given(
    method=METHODS,
    path=PATHS.map(str.encode) | st.sampled_from([b"/v2/ai/model", b"/ai/deployment", b"/metrics"]) | RAW,
    query=QUERIES.map(str.encode) | RAW,
    header=HEADERS.map(lambda text: text.encode("latin-1")) | RAW,
)
def test_whatever_a_stranger_sends_is_refused_in_the_shape_of_all_errors(
    depot: Depot, method: bytes, path: bytes, query: bytes, header: bytes
) -> None:
    with connect(depot.port) as client:
        words = b"Host: depot\r\nConnection: close\r\nAuthorization: " + header
        client.sendall(method + b" " + path + b"?" + query + b" HTTP/1.1\r\n" + words + b"\r\n\r\n")
        head, _, body = heard(client).partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"401", b"403", b"404", b"405", b"429"}
    if method != b"HEAD":
        assert json.loads(body)["error"]


def test_an_idle_connection_is_kept_longer_than_clients_and_proxies_keep_theirs() -> None:
    """A request over a connection that is closed at that moment is lost, and nobody may send a DELETE again by itself."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Is never asked."""

    config = configured(app, drain=0, client_timeout=1, trusted_proxies=[], certificate=None, key=None)
    assert config.timeout_keep_alive > 90
