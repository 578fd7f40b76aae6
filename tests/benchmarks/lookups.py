"""get-model while the Hub fails those who plan and search: `python -m tests.benchmarks.lookups [--seconds 10] [--rounds 3]`.

The database is PostgreSQL. Eight clients ask for plans and as many search, again and again, as often as their key may. The
Hub says nothing, says 429, or says what is no JSON; the baseline are the same clients with a Hub that is well, measured in
turn with these, as is a depot that nobody asks about the Hub. get-model is asked 100 times a second. Each answer about the
Hub must come within its bound.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx2

from tests.benchmarks.watchers import asked, p99
from tests.depot import CREDENTIALS, Depot
from tests.fakehub.hub import Fault, Hub
from tests.processes import until
from tests.servers import PostgreSQL, Redis

_CLIENTS = 8
_BOUND = 10.0
"""Seconds within which an answer about the Hub comes, good or not: the API's description says so."""
_SLOWER = 1.2
"""The limit: get-model's p99 as a ratio to the baseline's of the same round."""
_AGAIN = 0.5
"""Seconds until a client asks again."""
_SETTLE = 2.0
Asked = Awaitable[list[float]]
"""How long answers of get-model took, in seconds."""
_WELL = "is well"
_STATES = {
    _WELL: [],
    "says nothing": [Fault("stall", on="any", times=None, after_bytes=None)],
    "says 429": [Fault("status", on="any", times=None, status=429, retry_after=60)],
    "says no JSON": [Fault("rewrite", on="any", times=None, rewrite=lambda _: b"<html>proxy</html>")],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lookups")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with PostgreSQL() as postgresql, Redis() as redis, Hub() as hub, tempfile.TemporaryDirectory() as name:
        hub.add("acme/tiny", {"config.json": b"{}"})
        address = postgresql.migrated()
        depot = Depot(Path(name), database_url=address, redis_url=redis.url, hub_endpoint=hub.endpoint)
        try:
            created = depot.create("acme/tiny")
            depot.wait(created["id"])
            until(lambda: "worker is ready" in depot.logs(), depot.logs)
            path = f"/v2/ai/model/{created['reference']['id']}"
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                asked(depot.port, [path], _SETTLE)

                def get_model(seconds: float) -> Asked:
                    return asyncio.get_running_loop().run_in_executor(pool, asked, depot.port, [path], seconds)

                asyncio.run(_measure(depot, hub, get_model, options.seconds, options.rounds))
        finally:
            depot.close()


async def _measure(depot: Depot, hub: Hub, get_model: Callable[[float], Asked], seconds: float, rounds: int) -> None:
    p99s: dict[str, list[float]] = {state: [] for state in _STATES}
    for _ in range(rounds):
        print(f"nobody asks about the Hub: get-model p99 {p99(await get_model(seconds)) * 1000:.2f} ms")
        for state, faults in _STATES.items():
            hub.misbehave(*faults)
            taken, answers = await _beside(depot, get_model(seconds))
            hub.behave()
            p99s[state].append(p99(taken))
            print(
                f"the Hub {state}: get-model p99 {p99s[state][-1] * 1000:.2f} ms; "
                f"{len(answers)} answers about the Hub, the slowest after {max(answers):.1f} s",
                flush=True,
            )
            assert max(answers) <= _BOUND, "an answer about the Hub took longer than its bound"
    for state in list(_STATES)[1:]:
        ratio = statistics.median(one / well for one, well in zip(p99s[state], p99s[_WELL], strict=True))
        good = "ok" if ratio <= _SLOWER else "ABOVE"
        print(f"the Hub {state}: get-model p99 {ratio:.2f} of that with a Hub that is well (limit {_SLOWER}) {good}")


async def _beside(depot: Depot, asked: Asked) -> tuple[list[float], list[float]]:
    """How long answers of get-model took, and those about the Hub, all of which are waited for."""
    answers: list[float] = []
    enough = asyncio.Event()
    async with (
        httpx2.AsyncClient(base_url=depot.address("/v2"), headers=CREDENTIALS, timeout=60, verify=False) as client,
        asyncio.TaskGroup() as clients,
    ):
        for number in range(_CLIENTS):
            clients.create_task(_plan(client, number, answers, enough))
            clients.create_task(_search(client, number, answers, enough))
        taken = await asked
        enough.set()
    return taken, answers


async def _plan(client: httpx2.AsyncClient, number: int, answers: list[float], enough: asyncio.Event) -> None:
    turn = 0
    while not enough.is_set():
        turn += 1
        # No two ask for the same: they would share the answer.
        body = {"name": "acme/tiny", "exclude": [f"*.{number}-{turn}"]}
        await _timed(client, "POST", "/ai/model/plan", answers, json=body)


async def _search(client: httpx2.AsyncClient, number: int, answers: list[float], enough: asyncio.Event) -> None:
    turn = 0
    while not enough.is_set():
        turn += 1
        await _timed(client, "GET", "/ai/hub/search", answers, params={"q": f"{number} {turn}"})


async def _timed(client: httpx2.AsyncClient, method: str, path: str, answers: list[float], **sent: object) -> None:
    began = time.perf_counter()
    answer = await client.request(method, path, **sent)  # type: ignore[arg-type]
    assert answer.status_code in {200, 429, 503}, (answer.status_code, answer.text)
    if answer.status_code != 429:
        answers.append(time.perf_counter() - began)
    await asyncio.sleep(_AGAIN)


if __name__ == "__main__":
    main()
