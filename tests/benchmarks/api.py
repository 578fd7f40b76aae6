"""The API's requests per second, against a bare Starlette route: `python -m tests.benchmarks.api [--seconds 3]`.

Both are one uvicorn process with uvloop and httptools; the bare route answers a constant JSON body. The load is a closed
loop of connections from one other process. Each figure is the median of rounds that alternate with the baseline, so that
a drifting machine does not make a ratio. The database is PostgreSQL, the bell a real Redis.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import cast
from uuid import uuid4

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.depot import Depot
from tests.processes import free_port
from tests.servers import PostgreSQL, Redis

_CONNECTIONS = 16
_ROUNDS = 5


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
def _bare() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.api:bare", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen([*command, "--loop", "uvloop", "--http", "httptools", "--log-level", "error"])
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                asyncio.run(rate(port, lambda: request("GET", "/", ""), 0.1))
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def compare(
    title: str, port: int, next_request: Callable[[], bytes], bare_port: int, floor: float, seconds: float
) -> None:
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        theirs.append(uvloop.run(rate(bare_port, lambda: request("GET", "/", ""), seconds)))
        ours.append(uvloop.run(rate(port, next_request, seconds)))
    ratio = statistics.median(mine / bare for mine, bare in zip(ours, theirs, strict=True))
    print(
        f"{title:24} {statistics.median(ours):8.0f}/s   bare {statistics.median(theirs):8.0f}/s   "
        f"ratio {ratio:5.3f} (floor {floor}) {'ok' if ratio >= floor else 'BELOW'}",
        flush=True,
    )


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
        bare_port = stack.enter_context(_bare())
        port, headers = depot.port, _headers(depot)
        models = [depot.create(f"bench/{number}")["reference"]["id"] for number in range(100)]
        ids, numbers, run = count(), count(), uuid4().hex[:8]

        def get_model() -> bytes:
            return request("GET", f"/v2/ai/model/{models[next(ids) % 100]}", headers)

        def create_model() -> bytes:
            body = json.dumps({"name": f"{run}/{next(numbers)}"}).encode()
            return request("POST", "/v2/ai/model", headers, body)

        compare("get-model", port, get_model, bare_port, 0.20, seconds)
        compare("list-models of 100", port, lambda: request("GET", "/v2/ai/model", headers), bare_port, 0.06, seconds)
        compare("create-model", port, create_model, bare_port, 0.04, seconds)


def _headers(depot: Depot) -> str:
    credentials = depot.client.headers.get("authorization")
    return f"Authorization: {credentials}\r\n" if credentials else ""


if __name__ == "__main__":
    main()
