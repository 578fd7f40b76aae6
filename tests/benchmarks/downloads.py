"""Downloads, against curl, aria2c and `hf download`: `python -m tests.benchmarks.downloads [--folder /dev/shm]`.

nginx on loopback is the Hub (`apt-get install nginx-light curl aria2`), over TLS and over plain HTTP. "depot" is
the download's own process from its start to the rename that publishes: resolved, fetched, verified, synchronised. The
others synchronise nothing, and all but one verify nothing. Figures are medians of the rounds. Floors are held against what
comes over TLS, as from the real Hub.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.costs import Cost, of_all, of_download
from tests.benchmarks.distance import Distance
from tests.benchmarks.nginx import Nginx, Site
from tests.benchmarks.rivals import here
from tests.fakehub.certificates import Certificates
from tests.faults.engine import Engine
from worker.download.protocol import Message, Progress, Verified

GIB, MIB, KIB = 1 << 30, 1 << 20, 1 << 10
_MEMORY = 150
_EVERYBODY = ("curl", "curl+sha256", "aria2 -x8", "hf", "depot")


@dataclass(frozen=True, slots=True)
class Floor:
    """That `figure` of a rival's is so many times the depot's, or more."""

    rival: str
    times: float
    figure: str = "wall"

    def __str__(self) -> str:
        return f"{self.figure}: {self.rival} / depot >= {self.times:.2f}"


LARGE = (Floor("curl", 1.0), Floor("curl+sha256", 1 / 1.15, "cpu"), Floor("hf", 2.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes: 0.1 for a quick look")
    parser.add_argument("--only", action="append", help="a case, by its name: one, eight, small, far, kept")
    parser.add_argument("--scheme", action="append", choices=["https", "http"], help="default: both")
    options = parser.parse_args()
    only, schemes = options.only, options.scheme or ["https", "http"]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name, ExitStack() as stack:
        folder, scale = Path(name), options.scale
        certificates = Certificates(folder)
        hub = Nginx(folder / "near", certificates)
        sizes = {
            "one": {"model.safetensors": int(4 * GIB * scale)},
            "eight": {f"model-{n}.safetensors": int(512 * MIB * scale) for n in range(8)},
            "small": {f"{n}.json": 16 * KIB for n in range(int(2000 * scale))},
            "kept": {"model.safetensors": int(2 * GIB * scale)},
        }
        for case, files in sizes.items():
            if not only or case in only:
                hub.add(f"bench/{case}", files, lfs=case != "small")
        hub.add("bench/twenty", {f"model-{n:02}.safetensors": int(32 * MIB * scale) for n in range(20)})
        hub.revise("bench/twenty", "bench/revised", "model-07.safetensors")
        stack.enter_context(hub)
        trial = Trial(folder, options.rounds)
        for case, title, floors in (
            ("one", "1 x 4 GiB", LARGE),
            ("eight", "8 x 512 MiB", LARGE),
            ("small", "2000 x 16 KiB", (Floor("hf", 3.5),)),
        ):
            if not only or case in only:
                for scheme in schemes:
                    trial.compare(hub.site(scheme), f"bench/{case}", title, _EVERYBODY, floors)
        if not only or "kept" in only:
            trial.killed(hub, schemes[0])
            trial.stopped(hub, schemes[0])
            trial.revised(hub, schemes[0])
        if not only or "far" in only:
            _far(Trial(folder, 1), certificates, int(GIB * scale))


def _far(trial: "Trial", certificates: Certificates, size: int) -> None:
    """A Hub whose connections are slow, a round trip of 30 ms away."""
    hub = Nginx(trial.folder / "far", certificates, rate=20_000_000)
    hub.add("bench/far", {"model.safetensors": size})
    with hub, Distance(hub.port("https"), 30) as distance:
        site = hub.site("https", distance.port)
        title = f"{size // MIB} MiB, 20 MB/s a connection, 30 ms"
        trial.compare(site, "bench/far", title, ("curl", "aria2 -x8", "depot"), (Floor("curl", 7.0),))


class Trial:
    """Runs in `folder`, each so many times."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self._rounds = folder, rounds
        self._target = folder / "target"

    def compare(self, site: Site, name: str, title: str, rivals: Sequence[str], floors: Sequence[Floor]) -> None:
        """Print what each costs, in turn, round after round."""
        ways = here(rivals)
        costs: dict[str, list[Cost]] = {way: [] for way in ways}
        for _ in range(self._rounds):
            for way, run in ways.items():
                self._target.mkdir()
                costs[way].append(run(site, name, self._target))
                shutil.rmtree(self._target)
        medians = {way: of_all(values) for way, values in costs.items()}
        gib = site.size(name) / GIB
        print(f"\n{title}, {site.scheme}{'wall':>22} {'CPU/GiB':>9} {'memory':>9} {'switches/GiB':>13}")
        for way, cost in medians.items():
            print(
                f"  {way:34} {cost.wall:8.2f} s {cost.cpu / gib:7.2f} s {cost.memory:6.0f} MB {cost.switches / gib:13.0f}"
            )
        judged = floors if site.scheme == "https" else ()
        for floor in judged:
            times = getattr(medians[floor.rival], floor.figure) / getattr(medians["depot"], floor.figure)
            print(f"  {floor!s:50} {times:6.2f} {'OK' if times >= floor.times else 'BELOW'}")
        limit("memory of the download, MB", medians["depot"].memory, _MEMORY)

    def killed(self, hub: Nginx, scheme: str) -> None:
        """Bytes that are fetched again after a kill at 90 %."""
        site, name = hub.site(scheme), "bench/kept"
        total, before = site.size(name), hub.bytes_sent()
        engine = Engine(site, self._target, name, stall_window=30.0)
        # Slowly, because how far it is is told twice a second.
        with engine.start(bandwidth=total // 10) as attempt:
            outcome = attempt.outcome(
                lambda message: isinstance(message, Progress) and message.downloaded > 0.9 * total
            )
            attempt.process.kill()
        assert not outcome.done, "it was done before it could be killed: use larger files"
        assert engine.run().done
        engine.publish()
        print()
        limit("killed at 90 %: MiB sent twice", (hub.bytes_sent() - before - total) / MIB, 64)
        shutil.rmtree(self._target)

    def stopped(self, hub: Nginx, scheme: str) -> None:
        """Seconds from SIGTERM to the end of the process, in the middle."""

        def middle(message: Message) -> bool:
            return isinstance(message, Progress) and message.downloaded > 0

        site, name = hub.site(scheme), "bench/kept"
        cost = of_download(site, name, self._target, until=middle, bandwidth=site.size(name) // 10)
        limit("stopped in the middle: seconds", cost.wall, 2)
        shutil.rmtree(self._target)

    def revised(self, hub: Nginx, scheme: str) -> None:
        """Bytes that are fetched for a model that differs in one of 20 files from one that is there."""
        site = hub.site(scheme)
        first = Engine(site, self._target, "bench/twenty", stall_window=30.0)
        outcome = first.run()
        assert outcome.done
        published, before = first.publish(), hub.bytes_sent()
        second = Engine(site, self._target, "bench/revised", stall_window=30.0)
        second.links = {message.sha256: str(published / message.path) for message in outcome.all(Verified)}
        assert second.run().done
        changed = (second.publish() / "model-07.safetensors").stat().st_size
        limit("1 of 20 files changed: bytes sent", hub.bytes_sent() - before, changed)
        shutil.rmtree(self._target)


def limit(what: str, value: float, most: float) -> None:
    print(f"  {what + f' <= {most:g}':50} {value:6.2f} {'OK' if value <= most else 'ABOVE'}", flush=True)


if __name__ == "__main__":
    main()
