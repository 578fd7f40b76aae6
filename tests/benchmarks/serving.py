"""Files from a depot, against nginx's sendfile and Olah: `python -m tests.benchmarks.serving [--scale 0.1] [--only large]`.

nginx on loopback is the Hub that the depot fetched from, and then serves the same files by sendfile over plain HTTP, as
the depot does. Both run all the time; rounds of both alternate, and figures are medians of the rounds. CPU is the
server's, of all its processes. Olah serves from its cache, which is filled first.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2

from tests.benchmarks.load import ask, quantile
from tests.benchmarks.nginx import Nginx
from tests.depot import CREDENTIALS, KEY, SECRET, Depot
from tests.fakehub.certificates import Certificates
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.engine import CLEAN
from tests.faults.olah import Olah, install
from tests.processes import opened, said, until
from tests.servers import PostgreSQL, Redis

_GIB, _MIB, _KIB = 1 << 30, 1 << 20, 1 << 10
_SLOW = 100_000
"""Bytes per second of a slow client."""
_IDLE = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_AUTHORIZED = ("-H", f"Authorization: {CREDENTIALS['Authorization']}")
# The product's, where the tests' depots are quicker.
_SETTINGS = {"lease": 30, "poll_interval": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of sizes and numbers: 0.1 for a quick look")
    parser.add_argument("--only", action="append", help="a case, by its name: large, slow, small, hf")
    options = parser.parse_args()
    cases: dict[str, Callable[[Trial], None]] = {"large": _large, "slow": _slow, "hf": _hf, "small": _small}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name, ExitStack() as stack:
        trial = Trial(Path(name), stack, options.rounds, options.scale)
        for case, run in cases.items():
            if not options.only or case in options.only:
                run(trial)


class Trial:
    """A depot on a PostgreSQL and a Redis of its own; each case fetches what it serves."""

    def __init__(self, folder: Path, stack: ExitStack, rounds: int, scale: float) -> None:
        self.folder, self.stack, self.rounds, self.scale = folder, stack, rounds, scale
        self._postgresql, self._redis = stack.enter_context(PostgreSQL()), stack.enter_context(Redis())

    def nginx(self, case: str, files: dict[str, int]) -> Nginx:
        hub = Nginx(self.folder / f"{case}-hub", Certificates(self.folder))
        hub.add(f"bench/{case}", files)
        return self.stack.enter_context(hub)

    def depot(self, case: str, endpoint: str) -> tuple[Depot, str]:
        """A depot that keeps the case's repository; the path of that model."""
        depot = Depot(
            self.folder / f"{case}-depot",
            database_url=self._postgresql.migrated(),
            redis_url=self._redis.url,
            hub_endpoint=endpoint,
            **_SETTINGS,  # type: ignore[arg-type]
        )
        self.stack.callback(depot.close)
        operation = depot.create(f"bench/{case}")
        assert depot.wait(operation["id"], 600)["state"] == "success", depot.logs()
        return depot, f"/v2/ai/model/{operation['reference']['id']}"


def _large(trial: Trial) -> None:
    size = int(_GIB * trial.scale)
    hub = trial.nginx("large", {"model.safetensors": size})
    site = hub.site("http")
    depot, _ = trial.depot("large", site.endpoint)
    assert depot.api is not None
    servers = {
        "nginx": (hub.pid, site.addresses("bench/large")[0]),
        "depot": (depot.api.pid, depot.address("/bench/large/resolve/main/model.safetensors")),
    }
    for clients in (1, 4):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for _ in range(trial.rounds):
            for name, (pid, address) in servers.items():
                found[name].append(_fetched(pid, [address] * clients, size))
        print(f"\n{size // _MIB} MiB x {clients} clients")
        speed, cpu = ({name: statistics.median(one[n] for one in found[name]) for name in servers} for n in (0, 1))
        for name in servers:
            print(f"  {name:10} {speed[name]:6.2f} GiB/s {cpu[name]:6.3f} s of CPU/GiB")
        _floor("throughput / nginx's", speed["depot"] / speed["nginx"], 0.95)
        _limit("CPU / nginx's", cpu["depot"] / cpu["nginx"], 1.3)


def _slow(trial: Trial) -> None:
    """60 slow clients and a fast one: what others wait for an answer meanwhile, and how many threads there are.

    The baseline is a fast client of nginx: what it and its server take of the processor is not the depot's.
    """
    size = int(_GIB * trial.scale)
    site = trial.nginx("slow", {"model.safetensors": size}).site("http")
    depot, model = trial.depot("slow", site.endpoint)
    assert depot.api is not None
    address = depot.address("/bench/slow/resolve/main/model.safetensors")
    idle = _asked(depot, model)
    beside: dict[str, list[float]] = {"nginx": [], "depot": []}
    slow = [_curl(address, "--limit-rate", str(_SLOW)) for _ in range(60)]
    try:
        until(lambda: _descriptors(depot) >= 60, depot.logs)
        for _ in range(trial.rounds):
            beside["nginx"] += _asked_beside(depot, model, site.addresses("bench/slow")[0])
            beside["depot"] += _asked_beside(depot, model, address)
        threads = int(said(depot.api.pid, "status").split("Threads:")[1].split()[0])
    finally:
        for client in slow:
            client.kill()
            client.wait()
    before, nginx, during = (quantile(values, 0.99) * 1000 for values in (idle, *beside.values()))
    print("\n60 slow clients beside a fast one of nginx, or of the depot")
    print(f"  get-model p99: idle {before:.2f} ms, fast from nginx {nginx:.2f} ms, from the depot {during:.2f} ms")
    _limit("p99 / idle p99", during / before, 2.0)
    _limit("p99 / p99 beside nginx", during / nginx, 1.2)
    _limit("threads of the API", threads, 60)


def _asked_beside(depot: Depot, model: str, address: str) -> list[float]:
    """How long answers take while a client fetches, again and again."""
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(_asked, depot, model)
        while not asking.done():
            assert _curl(address).wait() == 0
        return asking.result()


def _hf(trial: Trial) -> None:
    files = {f"model-{number}.safetensors": int(512 * _MIB * trial.scale) for number in range(8)}
    site = trial.nginx("hf", files).site("http")
    depot, _ = trial.depot("hf", site.endpoint)
    found: dict[str, list[float]] = {"nginx": [], "depot": []}
    for _ in range(trial.rounds):
        for name, endpoint in (("nginx", site.endpoint), ("depot", depot.address(""))):
            found[name].append(_hf_download(trial.folder / "target", endpoint, "bench/hf"))
    times = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"\nhf download of 8 x {int(512 * trial.scale)} MiB: nginx {times['nginx']:.2f} s, depot {times['depot']:.2f} s"
    )
    _floor("speed / from nginx", times["nginx"] / times["depot"], 0.95)


def _small(trial: Trial) -> None:
    """Small files by 8 clients, each over one connection: HEAD and GET, as huggingface_hub asks."""
    if problem := install():
        print(problem)
        return
    hub = trial.stack.enter_context(Hub())
    names = [f"{number}.json" for number in range(int(2000 * trial.scale))]
    repo = hub.add("bench/small", {name: Synthetic(16 * _KIB, number) for number, name in enumerate(names)})
    (trial.folder / "olah").mkdir()
    olah = trial.stack.enter_context(Olah(hub, trial.folder / "olah"))
    depot, _ = trial.depot("small", hub.endpoint)
    commit = repo.branches["main"]
    _walked(olah.endpoint, {}, commit, names)  # It keeps them now.
    found: dict[str, list[float]] = {"Olah": [], "depot": []}
    for _ in range(trial.rounds):
        # Olah would ask the Hub whether it knows a key.
        found["Olah"].append(_walked(olah.endpoint, {}, commit, names))
        found["depot"].append(_walked(depot.address(""), CREDENTIALS, commit, names))
    rates = {who: len(names) / statistics.median(values) for who, values in found.items()}
    print(f"\n{len(names)} x 16 KiB by 8 clients: Olah {rates['Olah']:.0f}/s, depot {rates['depot']:.0f}/s")
    _floor("files a second / Olah's", rates["depot"] / rates["Olah"], 5.0)


def _walked(endpoint: str, headers: dict[str, str], commit: str, names: Sequence[str]) -> float:
    """Seconds that 8 clients take for all files together."""

    def walk(mine: Sequence[str]) -> None:
        with httpx2.Client(base_url=endpoint, headers=headers, timeout=60) as client:
            for name in mine:
                path = f"/bench/small/resolve/{commit}/{name}"
                assert client.head(path).status_code == 200
                assert len(client.get(path).raise_for_status().content) == 16 * _KIB

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(walk, [names[start::8] for start in range(8)]))
    return time.perf_counter() - began


def _hf_download(target: Path, endpoint: str, name: str) -> float:
    program = str(Path(sys.executable).with_name("hf"))
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(target), "HF_TOKEN": f"{KEY}:{SECRET}"}
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    began = time.perf_counter()
    subprocess.run(
        [program, "download", name, "--quiet"], env=CLEAN | own | quiet, check=True, stdout=subprocess.DEVNULL
    )
    took = time.perf_counter() - began
    shutil.rmtree(target)
    return took


def _fetched(pid: int, addresses: Sequence[str], size: int) -> tuple[float, float]:
    """GiB a second that clients got together, and the server's seconds of CPU for each GiB."""
    cpu, began = _cpu(pid), time.perf_counter()
    for client in [_curl(address) for address in addresses]:
        assert client.wait() == 0
    gib = len(addresses) * size / _GIB
    return gib / (time.perf_counter() - began), (_cpu(pid) - cpu) / gib


def _curl(address: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["curl", "-sSf", "-o", "/dev/null", *_AUTHORIZED, *words, address], env=CLEAN)


def _asked(depot: Depot, model: str) -> list[float]:
    """How long answers take, in seconds, to one client that asks for a while."""
    answered: list[float] = []

    async def run() -> None:
        asking = asyncio.create_task(ask(depot.port, model, answered))
        await asyncio.wait([asking], timeout=_IDLE)
        asking.cancel()

    asyncio.run(run())
    return answered


def _descriptors(depot: Depot) -> int:
    assert depot.api is not None
    return sum(name.endswith("model.safetensors") for name in opened(depot.api.pid))


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process and its children, which are there all the time."""
    children = [int(child) for child in said(pid, f"task/{pid}/children").split()]
    fields = [said(one, "stat").rpartition(")")[2].split() for one in (pid, *children)]
    return sum(int(field) for one in fields for field in one[11:13]) / _TICKS


def _floor(what: str, value: float, least: float) -> None:
    print(f"  {what + f' >= {least:g}':50} {value:6.2f} {'OK' if value >= least else 'BELOW'}", flush=True)


def _limit(what: str, value: float, most: float) -> None:
    print(f"  {what + f' <= {most:g}':50} {value:6.2f} {'OK' if value <= most else 'ABOVE'}", flush=True)


if __name__ == "__main__":
    main()
