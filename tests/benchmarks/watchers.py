"""What watchers cost: `python -m tests.benchmarks.watchers [--seconds 10]`.

Ten downloads, throttled so that they last, and 0, 20 and 200 watchers on their event streams. While they watch, get-model
is asked at a steady pace, in rounds that alternate so that a drifting machine does not make a ratio. PostgreSQL itself
counts the transactions; each statement of a reader is one.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import cast

import asyncpg
import uvloop

from tests.benchmarks.api import request
from tests.depot import CREDENTIALS, KEY, SECRET, Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.processes import until
from tests.servers import PostgreSQL, Redis

_DOWNLOADS = 10
_SIZE = 256 << 20
_RATE = 2 << 20
"""Bytes a second of all downloads together."""
_PACE = 100
"""Requests a second."""
_CONNECTIONS = 8
_ROUNDS = 5
_SETTLE = 2.0
"""Seconds of asking before each count: PostgreSQL's processes say once a second what they did."""
_HEADERS = f"Authorization: {CREDENTIALS['Authorization']}\r\n"
_SLOWER, _MORE = 2.0, 1.1
"""The limits: what p99 and the statements a second may be with 200 watchers, as ratios to none."""


class _Stream(asyncio.Protocol):
    """One watcher, which counts what it is told."""

    def __init__(self, path: str, headers: str) -> None:
        self._asked, self.told = request("GET", path, headers), 0
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._asked)

    def data_received(self, data: bytes) -> None:
        self.told += data.count(b"event: ")
        if self.told and not self.begun.done():
            self.begun.set_result(None)


def _watch(
    port: int, paths: list[str], headers: str, connected: Event, leave: Event, told: "multiprocessing.Queue[int]"
) -> None:
    """The process of the watchers: one on each of `paths`."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        streams = [_Stream(path, headers) for path in paths]
        for stream in streams:
            await loop.create_connection(partial(_itself, stream), "127.0.0.1", port)
        await asyncio.gather(*(stream.begun for stream in streams))
        connected.set()
        before = sum(stream.told for stream in streams)
        await loop.run_in_executor(None, leave.wait)
        told.put(sum(stream.told for stream in streams) - before)

    uvloop.run(run())


def _itself(stream: _Stream) -> _Stream:
    return stream


@contextlib.contextmanager
def watching(port: int, paths: list[str], headers: str) -> Iterator[Callable[[], int]]:
    """So many watchers; what is given tells how often they were told something, and lets them go."""
    context = multiprocessing.get_context("spawn")
    connected, leave, told = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_watch, args=(port, paths, headers, connected, leave, told))
    process.start()
    try:
        assert connected.wait(60), "the watchers were not told anything"

        def left() -> int:
            leave.set()
            return int(told.get(timeout=30))

        yield left
    finally:
        leave.set()
        process.join(30)
        process.kill()


class _Asker(asyncio.Protocol):
    """A connection that is asked one thing at a time."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[None] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if (
            separator
            and self._answered
            and len(body) >= int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        ):
            assert head.startswith(b"HTTP/1.1 200"), head
            self._received = b""
            self._answered.set_result(None)

    async def ask(self, asked: bytes) -> None:
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(asked)
        await self._answered


def asked(port: int, paths: list[str], seconds: float) -> list[float]:
    """In a process of its own: the Hub's threads would be in its way."""
    return uvloop.run(_latencies(port, paths, seconds))


async def _latencies(port: int, paths: list[str], seconds: float) -> list[float]:
    """Of get-model, asked `_PACE` times a second whatever the answers take; in seconds from when each was due."""
    loop = asyncio.get_running_loop()
    askers = [(await loop.create_connection(_Asker, "127.0.0.1", port))[1] for _ in range(_CONNECTIONS)]
    began, taken = time.perf_counter(), []

    async def keep_asking(number: int, asker: _Asker) -> None:
        due = began + number / _PACE
        for path in cycle(paths):
            if due > began + seconds:
                break
            await asyncio.sleep(due - time.perf_counter())
            await asker.ask(request("GET", path, _HEADERS))
            taken.append(time.perf_counter() - due)
            due += _CONNECTIONS / _PACE

    await asyncio.gather(*(keep_asking(number, asker) for number, asker in enumerate(askers)))
    for asker in askers:
        asker.transport.close()
    return taken


def p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


async def _transactions(address: str) -> int:
    """All that were committed in the database so far, once its processes have said so."""
    connection = await asyncpg.connect(address)
    try:
        count: int = await connection.fetchval(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
        return count
    finally:
        await connection.close()


@dataclass
class Figures:
    """Of the rounds with one number of watchers."""

    p99s: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    """Transactions a second."""


def measure(depot: Depot, address: str, models: list[str], streams: list[str], headers: str, seconds: float) -> None:
    """Prints the table. `streams` are the paths that are watched, in turn, and `headers` those that open them."""
    figures = {0: Figures(), 20: Figures(), 200: Figures()}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        def ask(duration: float) -> list[float]:
            return pool.submit(asked, depot.port, [f"/v2/ai/model/{model}" for model in models], duration).result()

        for _ in range(_ROUNDS):
            for watchers, found in figures.items():
                paths = [streams[number % len(streams)] for number in range(watchers)]
                with watching(depot.port, paths, headers) if paths else contextlib.nullcontext(lambda: 0) as left:
                    ask(_SETTLE)
                    before, began = asyncio.run(_transactions(address)), time.perf_counter()
                    found.p99s.append(p99(ask(seconds)))
                    passed = time.perf_counter() - began
                    found.rate.append((asyncio.run(_transactions(address)) - before) / passed)
                    told = left() / (passed + _SETTLE)
                print(
                    f"{watchers:4} watchers, told {told:4.0f} times/s: get-model p99 {found.p99s[-1] * 1000:6.1f} ms, "
                    f"{found.rate[-1]:6.1f} transactions/s",
                    flush=True,
                )
    for watchers in (20, 200):
        _compare("get-model p99", watchers, figures[watchers].p99s, figures[0].p99s, _SLOWER)
        _compare("transactions/s", watchers, figures[watchers].rate, figures[0].rate, _MORE)


def _compare(title: str, watchers: int, some: list[float], none: list[float], limit: float) -> None:
    ratio = statistics.median(one / other for one, other in zip(some, none, strict=True))
    good = "ok" if ratio <= limit else "ABOVE"
    print(f"{title} with {watchers:3} watchers: {ratio:.2f} of that with none (limit {limit}) {good}", flush=True)


@contextlib.contextmanager
def downloads(folder: Path) -> Iterator[tuple[Depot, str, list[str]]]:
    """A depot with its database's address, and ten models that are downloading for as long as this lasts."""
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(Hub())
        postgresql, redis = stack.enter_context(PostgreSQL()), stack.enter_context(Redis())
        for number in range(_DOWNLOADS):
            hub.add(f"bench/large-{number}", {"model.safetensors": Synthetic(_SIZE, number)})
        hub.total_rate, address = _RATE, postgresql.migrated()
        depot = Depot(
            folder, database_url=address, redis_url=redis.url, hub_endpoint=hub.endpoint, slots=_DOWNLOADS, lease=30
        )
        stack.callback(depot.close)
        models = [depot.create(f"bench/large-{number}")["reference"]["id"] for number in range(_DOWNLOADS)]
        until(lambda: all((depot.model(model)["rate"] or 0) > 0 for model in models), depot.logs, 60)
        yield depot, address, models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, downloads(Path(name)) as (depot, address, models):
        print("## the API's event streams, each of one model")
        measure(depot, address, models, [f"/v2/ai/model/{model}/events" for model in models], _HEADERS, seconds)
        print("## the console's, each of all ten, and of the totals, which are never those that it knows")
        streams = [f"/console/events?totals=others&models={','.join(models)}"]
        measure(depot, address, models, streams, f"Cookie: {_signed_in(depot)}\r\n", seconds)


def _signed_in(depot: Depot) -> str:
    """The console's cookie."""
    answer = depot.client.post("../console/sign-in", data={"key": f"{KEY}:{SECRET}"})
    return answer.headers["set-cookie"].partition(";")[0]


if __name__ == "__main__":
    main()
