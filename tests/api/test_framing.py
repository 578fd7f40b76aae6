"""Where a request ends: what follows it is the next request, whatever is offered or ambiguous, and never a part of it."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.raw import AUTHORIZATION, answer_on, api_alone, connect, heard, is_refused
from tests.api.test_auth import sign
from tests.depot import Depot

OFFERS = {
    "none": b"",
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n",
    "TLS": b"Upgrade: TLS/1.0\r\nConnection: keep-alive, upgrade\r\n",
}
INNER = b"GET /v2/zone HTTP/1.1\r\nHost: depot\r\n\r\n"
"""A request that must not be seen when it is a body."""
LINE = b"POST /v2/ai/model HTTP/1.1\r\nHost: depot\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def depot(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    with api_alone(migrated_sqlite, tmp_path_factory.mktemp("framing"), 30.0) as depot:
        yield depot


def _credentials(kind: str, body: bytes) -> bytes:
    if kind == "signed":
        return f"Authorization: {sign('POST', '/v2/ai/model', body)}\r\n".encode()
    return AUTHORIZATION if kind == "bearer" else b""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("split", ["with the head", "after the head", "in the middle", "byte by byte"])
@pytest.mark.parametrize("kind", ["bearer", "signed", "stranger"])
@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_is_ignored_and_the_body_is_the_body(
    depot: Depot, offer: str, kind: str, split: str, *, chunked: bool
) -> None:
    body = INNER if kind == "stranger" else json.dumps({"name": f"acme/{next(NUMBERS)}"}).encode()
    head = LINE + OFFERS[offer] + _credentials(kind, body)
    if chunked:
        asked = head + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        asked = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    end = asked.index(b"\r\n\r\n") + 4
    cuts = {"with the head": [], "after the head": [end], "in the middle": [end - 30, end + 5]}
    points = [0, *cuts.get(split, range(1, len(asked))), len(asked)]
    with connect(depot.port) as client:
        for start, stop in itertools.pairwise(points):
            client.sendall(asked[start:stop])
            if split == "after the head" and start == 0 and kind == "stranger":
                # It is told before its body is there, which is read all the same.
                assert answer_on(client)[0] == 401
        if split != "after the head" or kind != "stranger":
            assert answer_on(client)[0] == (401 if kind == "stranger" else 200)
        client.sendall(b"GET /nothing HTTP/1.1\r\nHost: depot\r\nConnection: close\r\n\r\n")
        is_refused(heard(client), 404)


@pytest.mark.parametrize("offer", OFFERS)
def test_requests_in_one_packet_are_answered_in_order_whatever_they_offer(depot: Depot, offer: str) -> None:
    def get(path: bytes) -> bytes:
        return b"GET %b HTTP/1.1\r\nHost: depot\r\n%b\r\n" % (path, OFFERS[offer])

    body = b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER
    post = LINE + OFFERS[offer] + body
    with connect(depot.port) as client:
        client.sendall(get(b"/healthz") + post + get(b"/nothing") + post + get(b"/healthz"))
        assert [answer_on(client)[0] for _ in range(5)] == [200, 401, 404, 401, 200]
        client.sendall(get(b"/v2/ai/model")[:-2] + b"Connection: close\r\n\r\n")
        is_refused(heard(client), 401)


REFUSED: dict[str, bytes] = {
    "two hosts": b"GET /v2/zone HTTP/1.1\r\nHost: depot\r\nHost: depot\r\n\r\n",
    "no host": b"GET /v2/zone HTTP/1.1\r\n\r\n",
    "two hosts in 1.0": b"GET /v2/zone HTTP/1.0\r\nHost: depot\r\nHost: other\r\n\r\n",
    "two hosts in one": b"GET /v2/zone HTTP/1.1\r\nHost: depot, other\r\n\r\n" + b"\r\n",
    "a host that is none": b"GET /v2/zone HTTP/1.1\r\nHost: depot/../x\r\n\r\n",
    "a length and chunks": LINE + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and a length": LINE + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": LINE + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "the length twice": LINE + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "lengths in one": LINE + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a length with a sign": LINE + b"Content-Length: +4\r\n\r\nabcd",
    "a length in hexadecimal": LINE + b"Content-Length: 0x4\r\n\r\nabcd",
    "an empty length": LINE + b"Content-Length:\r\n\r\n",
    "a length beyond all": LINE + b"Content-Length: 36893488147419103236\r\n\r\nabcd",
    "a space before the colon": LINE + b"Content-Length : 4\r\n\r\nabcd",
    "chunks in 1.0": b"POST /v2/zone HTTP/1.0\r\nHost: depot\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "an unknown coding": LINE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, then not": LINE + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": LINE + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "identity": LINE + b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd",
    "a coding on the next line": LINE + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a coding behind a control character": LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded header": LINE + b"X-A: b\r\n Content-Length: 4\r\n\r\nabcd",
    "a bare LF in the head": LINE + b"X-A: b\nContent-Length: 4\r\n\r\nabcd",
    "a bare CR in the head": LINE + b"X-A: b\rContent-Length: 4\r\n\r\nabcd",
    "a bare LF at its end": LINE + b"Content-Length: 4\r\n\nabcd",
    "a NUL in the head": LINE + b"X-A: b\0c\r\n\r\n",
    "a bare LF after a chunk's size": LINE + CHUNKED + b"\r\n1\na\r\n0\r\n\r\n",
    "a bare LF in a chunk's extension": LINE + CHUNKED + b"\r\n1;x\na\r\n0\r\n\r\n",
    "a bare LF after a chunk": LINE + CHUNKED + b"\r\n1\r\na\n0\r\n\r\n",
    "a chunk that is longer than told": LINE + CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk's size with a sign": LINE + CHUNKED + b"\r\n-1\r\na\r\n0\r\n\r\n",
    "a chunk's size as 0x": LINE + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "a chunk's size behind a space": LINE + CHUNKED + b"\r\n 1\r\na\r\n0\r\n\r\n",
    "a chunk's size beyond all": LINE + CHUNKED + b"\r\n10000000000000001\r\na\r\n0\r\n\r\n",
    "a length behind the chunks": LINE + CHUNKED + b"\r\n0\r\nContent-Length: 40\r\n\r\n",
    "CONNECT": b"CONNECT depot:80 HTTP/1.1\r\nHost: depot\r\nContent-Length: 4\r\n\r\nabcd",
    "CONNECT of a path": b"CONNECT /v2/zone HTTP/1.1\r\nHost: depot\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET /v2/zone HTTP/2.0\r\nHost: depot\r\n\r\n",
    "HTTP/0.9": b"GET /v2/zone HTTP/0.9\r\nHost: depot\r\n\r\n",
    "HTTP/0.9 as it was": b"GET /v2/zone\r\n\r\n",
    "HTTP/1.2": b"GET /v2/zone HTTP/1.2\r\nHost: depot\r\n\r\n",
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_a_proxy_may_read_otherwise_is_refused_and_nothing_after_it_is_read(
    depot: Depot, name: str, offer: str
) -> None:
    line, _, rest = REFUSED[name].partition(b"\r\n")
    said = REFUSED[name] if offer == "none" else line + b"\r\n" + OFFERS[offer] + rest
    with connect(depot.port) as client:
        client.sendall(said + INNER)
        answer = heard(client)
    if b" 401 " in answer.partition(b"\r\n")[0]:
        # The head was right, and what it said was not waited for: the connection ends where the body is wrong.
        assert rest.partition(b"\r\n\r\n")[0] + b"\r\n" in (LINE + CHUNKED), answer
        assert answer.count(b"HTTP/1.1 ") == 1
    else:
        is_refused(answer, 400)


def test_what_comes_behind_the_last_chunk_is_no_header(depot: Depot) -> None:
    body = json.dumps({"name": f"acme/{next(NUMBERS)}"}).encode()
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    with connect(depot.port) as client:
        client.sendall(LINE + CHUNKED + b"\r\n" + chunks + AUTHORIZATION + b"X-Request-Id: trailer\r\n\r\n")
        status, headers, _ = answer_on(client)
        assert (status, headers["x-request-id"] != "trailer") == (401, True)


def test_who_waits_to_be_told_to_go_on_and_is_refused_gets_no_second_answer(depot: Depot) -> None:
    with connect(depot.port) as client:
        client.sendall(LINE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(INNER))
        answer = heard(client)
        is_refused(answer, 401)


def test_who_waits_to_be_told_to_go_on_is_told(depot: Depot) -> None:
    body = json.dumps({"name": f"acme/{next(NUMBERS)}"}).encode()
    with connect(depot.port) as client:
        client.sendall(LINE + AUTHORIZATION + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert answer_on(client)[0] == 200


@pytest.mark.parametrize(
    "head", [b"GET /v2/zone HTTP/1.0\r\n\r\n", b"GET http://depot/v2/zone HTTP/1.1\r\nHost: depot\r\n\r\n"]
)
def test_older_clients_and_whole_addresses_are_understood(depot: Depot, head: bytes) -> None:
    with connect(depot.port) as client:
        client.sendall(head)
        assert answer_on(client)[0] == 200
