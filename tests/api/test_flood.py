"""Clients that send or ask for more than they take: what the API holds of it in memory, and that others are answered."""

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from app.http.connection import MAX_WAITING
from tests.api.raw import POST, Memory, answer_on, api_alone, connect
from tests.depot import KEY, Depot
from tests.processes import BUSY

_BOUND = 64 << 20
"""Bytes by which the API may grow."""
_QUIET = 1.0
"""Seconds in which nothing more is taken: the API has read what it is going to read."""
_BODY = b"x" * (1 << 20)
_SIGNED = (
    "POST /v2/ai/model HTTP/1.1\r\nHost: depot\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    "Authorization: EXO2-HMAC-SHA256 credential=%s,expires=%d,signature=" + 43 * "A" + "=\r\n\r\n"
)


@pytest.fixture(scope="module")
def depot(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    with api_alone(migrated_sqlite, tmp_path_factory.mktemp("flood"), 30.0) as depot:
        assert depot.client.get("/ai/model").status_code == 200
        yield depot


def send_all_that_is_taken(clients: Sequence[socket.socket], said: bytes) -> None:
    """To each of them, until nothing more is taken by any. What they answer is not read."""
    left = dict.fromkeys(clients, memoryview(said))
    with selectors.DefaultSelector() as selector:
        for one in clients:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_WRITE)
        while selector.get_map() and (ready := selector.select(_QUIET)):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                client = key.fileobj
                try:
                    left[client] = left[client][client.send(left[client]) :]
                except ConnectionError:
                    left[client] = memoryview(b"")
                if not left[client]:
                    selector.unregister(client)


@pytest.mark.parametrize(
    "line", [b"GET /x HTTP/1.1\r\n\r\n", b"GET /x HTTP/1.1\r\nHost: depot\r\n\r\n", b"GET /x\r\n\r\n"]
)
def test_pipelined_requests_wait_outside(depot: Depot, line: bytes) -> None:
    assert depot.api
    memory = Memory(depot.api.pid)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(depot.port)) for _ in range(40)]
        send_all_that_is_taken(clients, line * 13_700)
        for _ in range(5):
            began = time.monotonic()
            assert httpx2.get(f"http://127.0.0.1:{depot.port}/healthz", timeout=30).status_code == 200
            assert time.monotonic() - began < BUSY
        assert memory.grown() < _BOUND


def test_pipelined_requests_are_all_answered_in_their_order(depot: Depot) -> None:
    number = 40 * MAX_WAITING
    asked = [b"GET /v2/%d HTTP/1.1\r\nHost: depot\r\nX-Request-Id: n%d\r\n\r\n" % (one, one) for one in range(number)]
    with connect(depot.port) as client:
        client.sendall(b"".join(asked))
        ids = [answer_on(client)[1]["x-request-id"] for _ in range(number)]
    assert ids == [f"n{one}" for one in range(number)]


def test_bodies_behind_others_are_read_in_their_order(depot: Depot) -> None:
    body = b'{"name": "acme/%d", "revision": "' + b"x" * 3000 + b'"}'
    asked = [POST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for _ in range(4 * MAX_WAITING)]
    with connect(depot.port) as client:
        client.sendall(b"".join(asked))
        assert {answer_on(client)[0] for _ in asked} == {400}


@pytest.mark.parametrize("key", ["EXO" + "0" * 24, KEY])
def test_bodies_under_a_signature_that_is_made_up_are_not_all_held(depot: Depot, key: str) -> None:
    assert depot.api
    memory = Memory(depot.api.pid)
    head = (_SIGNED % (len(_BODY), key, int(time.time()) + 60)).encode()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(depot.port)) for _ in range(200)]
        send_all_that_is_taken(clients, head + _BODY[:-1])
        # Bodies as they usually are get through.
        assert depot.client.post("/ai/model", json={"name": "acme/small"}).status_code in {200, 409}
        answers = Counter(answered(client) for client in clients)
        assert memory.grown() < _BOUND
    assert set(answers) <= {"403", "429", "503", "cut off", ""}
    # As many as there is room for are waited for.
    assert answers[""] <= (8 if key == KEY else 0), answers


def answered(client: socket.socket) -> str:
    """The status; empty for none."""
    client.settimeout(_QUIET / 10)
    try:
        return client.recv(4096)[9:12].decode() or "cut off"
    except ConnectionError:
        return "cut off"
    except TimeoutError:
        return ""


@pytest.mark.parametrize("kind", ["a chunk's extension", "a trailer", "a trailer's name"])
def test_what_is_no_body_behind_a_head_has_a_bound_too(depot: Depot, kind: str) -> None:
    assert depot.api
    begun = {"a chunk's extension": b"1;x=", "a trailer": b"0\r\nX-A: ", "a trailer's name": b"0\r\nX-"}[kind]
    memory, sent = Memory(depot.api.pid), 0
    with connect(depot.port) as client:
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + begun)
        try:
            while sent < 200 << 20:
                sent += client.send(b"a" * 65_536)
        except ConnectionError:
            pass
    assert sent < 100 << 20
    assert memory.grown() < _BOUND
