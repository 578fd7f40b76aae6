"""The API's requests per second, against a bare Starlette route: `python -m tests.benchmarks.api [--seconds 3]`.

Both are one uvicorn process with uvloop and httptools; the bare route answers a constant JSON body. The load is a closed
loop of connections from one other process. Each figure is the median of rounds that alternate with the baseline, so that
a drifting machine does not make a ratio. The database is PostgreSQL, the bell a real Redis. The baseline of the signed
requests is the same route of an API that verifies nothing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count, cycle
from pathlib import Path
from typing import cast
from uuid import uuid4

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.api.test_auth import sign
from tests.depot import Depot
from tests.processes import free_port, until
from tests.servers import PostgreSQL, Redis

_CONNECTIONS = 16
_ROUNDS = 5
_UVICORN = ("uvicorn", "tests.benchmarks.api:bare", "--no-access-log", "--loop", "uvloop", "--http", "httptools")
Asked = tuple[int, Callable[[], bytes]]
"""A server's port, and its next request."""


async def _constant(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


bare = Starlette(routes=[Route("/", _constant)])


class _Load(asyncio.Protocol):
    """One connection that asks again as soon as it was answered. Every answer must have status 200."""

    def __init__(self, next_request: Callable[[], bytes], until: float, finished: asyncio.Future[int]) -> None:
        self._next, self._until, self._finished = next_request, until, finished
        self._answered, self._received = 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._next())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._finished.set_exception(RuntimeError(self._received.decode()))
            self._transport.close()
            return
        self._answered, self._received = self._answered + 1, b""
        if time.perf_counter() < self._until:
            self._transport.write(self._next())
        else:
            self._transport.close()
            self._finished.set_result(self._answered)


async def rate(port: int, next_request: Callable[[], bytes], seconds: float) -> float:
    """Requests per second over `seconds`."""
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    finished: list[asyncio.Future[int]] = [loop.create_future() for _ in range(_CONNECTIONS)]
    for one in finished:
        await loop.create_connection(lambda one=one: _Load(next_request, began + seconds, one), "127.0.0.1", port)  # type: ignore[misc]
    return sum(await asyncio.gather(*finished)) / (time.perf_counter() - began)


def request(method: str, path: str, headers: str, body: bytes = b"") -> bytes:
    if body:
        headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() + body


@contextlib.contextmanager
def _running(port: int, log: Path, *words: str, environment: Mapping[str, str] = os.environ) -> Iterator[int]:
    """A server at `port`, once it answers there. It writes its log to a file, as a depot's does."""
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", *words], env=environment, stderr=stream)
    try:
        until(lambda: answers_something(port), lambda: " ".join(words))
        yield port
    finally:
        process.terminate()
        process.wait()


def answers_something(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def compare(title: str, ours: Asked, theirs: Asked, floor: float, seconds: float, *, of: str = "bare") -> None:
    """Rounds of both in turn; the ratio is the median of each round's."""
    pairs = [
        (uvloop.run(rate(*theirs, seconds)), uvloop.run(rate(*ours, seconds)))  # the baseline first
        for _ in range(_ROUNDS)
    ]
    ratio = statistics.median(mine / base for base, mine in pairs)
    base, mine = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    verdict = "ok" if ratio >= floor else "BELOW"
    print(f"{title:24} {mine:8.0f}/s   {of} {base:8.0f}/s   ratio {ratio:5.3f} (floor {floor}) {verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, contextlib.ExitStack() as stack:
        postgresql, redis = stack.enter_context(PostgreSQL()), stack.enter_context(Redis())
        depot = Depot(
            Path(name),
            database_url=postgresql.migrated(),
            redis_url=redis.url,
            hub_endpoint="http://127.0.0.1:9",
            workers=0,
        )
        stack.callback(depot.close)
        bare_port, open_port, port, headers = free_port(), free_port(), depot.port, _headers(depot)
        stack.enter_context(_running(bare_port, Path(name, "bare"), *_UVICORN, "--port", str(bare_port)))
        unguarded = depot.environment | {"DEPOT_PORT": str(open_port)}
        stack.enter_context(
            _running(open_port, Path(name, "open"), "tests.benchmarks.unguarded", environment=unguarded)
        )
        models = [depot.create(f"bench/{number}")["reference"]["id"] for number in range(100)]
        ids, numbers, run = count(), count(), uuid4().hex[:8]

        def get_model() -> bytes:
            return request("GET", f"/v2/ai/model/{models[next(ids) % 100]}", headers)

        def create_model() -> bytes:
            body = json.dumps({"name": f"{run}/{next(numbers)}"}).encode()
            return request("POST", "/v2/ai/model", headers, body)

        def signed(model_id: str) -> bytes:
            path = f"/v2/ai/model/{model_id}"
            return request("GET", path, f"Authorization: {sign('GET', path)}\r\n")

        bare_one: Asked = bare_port, lambda: request("GET", "/", "")
        compare("get-model", (port, get_model), bare_one, 0.20, seconds)
        list_models: Asked = port, lambda: request("GET", "/v2/ai/model", headers)
        compare("list-models of 100", list_models, bare_one, 0.06, seconds)
        # They are signed beforehand: whoever signs is not this process, as a rule.
        requests = cycle([signed(model_id) for model_id in models])
        verified, unverified = (port, lambda: next(requests)), (open_port, lambda: next(requests))
        compare("get-model, signed", verified, unverified, 0.85, seconds, of="unverified")
        # The last, as it leaves tens of thousands of models behind.
        compare("create-model", (port, create_model), bare_one, 0.04, seconds)


def _headers(depot: Depot) -> str:
    credentials = depot.client.headers.get("authorization")
    return f"Authorization: {credentials}\r\n" if credentials else ""


if __name__ == "__main__":
    main()
