"""A list of 100,000 models, and what get-model takes beside it: `python -m tests.benchmarks.lists [--models 100000]`.

The database is PostgreSQL. get-model is asked 50 times a second, first of an idle API and then while one client after the
other reads the whole list, and while 20 clients do at once. Printed are the quantiles, the list's bytes and seconds, and
the most that the API had in memory, also with 20 clients that ask for the list and read nothing.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests import many
from tests.api.raw import Memory, connect
from tests.benchmarks.api import request
from tests.benchmarks.load import HEADERS, ask, quantile
from tests.by_hand import run
from tests.depot import Depot
from tests.servers import PostgreSQL, Redis

_CLIENTS = 20
_LIST = request("GET", "/v2/ai/model", HEADERS + "Connection: close\r\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lists")
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options = parser.parse_args()
    with PostgreSQL() as postgresql, Redis() as redis, tempfile.TemporaryDirectory(prefix="lists-") as name:
        address = postgresql.migrated()
        ids = run(address, lambda database: many.add_models(database, options.models))
        depot = Depot(
            Path(name), database_url=address, redis_url=redis.url, hub_endpoint="http://127.0.0.1:9", workers=0
        )
        try:
            asyncio.run(_measure(depot, f"/v2/ai/model/{ids[len(ids) // 2]}", options.seconds))
        finally:
            depot.close()


async def _measure(depot: Depot, path: str, seconds: float) -> None:
    assert depot.api
    await _asked(depot, path, 2, 0)
    memory = Memory(depot.api.pid)
    idle = await _asked(depot, path, seconds, 0)
    for readers in (1, _CLIENTS):
        beside = await _asked(depot, path, seconds, readers)
        for rank in (0.5, 0.99):
            before, now = quantile(idle, rank) * 1000, quantile(beside, rank) * 1000
            print(
                f"{readers:2} reading: get-model {rank}: idle {before:.2f} ms, {now:.2f} ms, ratio {now / before:.2f}"
            )
    with ExitStack() as stack:
        for _ in range(_CLIENTS):
            stack.enter_context(connect(depot.port)).sendall(_LIST)
        stalled = await _asked(depot, path, seconds / 2, 0)
        print(f"{_CLIENTS} reading nothing: get-model 0.99: {quantile(stalled, 0.99) * 1000:.2f} ms")
    print(f"the API grew by {memory.grown() >> 20} MiB at most")


async def _asked(depot: Depot, path: str, seconds: float, readers: int) -> list[float]:
    """How long get-model took each time, while so many read the list over and over."""
    answered: list[float] = []
    reading = [asyncio.create_task(_read(depot.port, tell=readers == 1)) for _ in range(readers)]
    asking = asyncio.create_task(ask(depot.port, path, answered))
    await asyncio.sleep(seconds)
    for task in (asking, *reading):
        task.cancel()
    await asyncio.gather(asking, *reading, return_exceptions=True)
    return answered


async def _read(port: int, *, tell: bool) -> None:
    # Another process, so that its work is not in the times of this one.
    words = ["-sS", "-o", "/dev/null", "-w", "%{size_download} bytes in %{time_total} s\n"]
    for line in HEADERS.splitlines():
        words += ["-H", line]
    while True:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            "curl", *words, f"http://127.0.0.1:{port}/v2/ai/model", stdout=asyncio.subprocess.PIPE
        )
        try:
            said, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        assert process.returncode == 0, said
        if tell:
            print(f"the whole list: {said.decode().strip()} ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
