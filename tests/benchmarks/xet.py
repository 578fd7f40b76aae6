"""Downloads over Xet, against `hf download` over Xet: `python -m tests.benchmarks.xet [--folder /dev/shm] [--rounds 3]`.

The tests' Hub on loopback has a content store that the real hf_xet filled; both speak TLS. "depot" is the download's own
process from its start to the rename that publishes, with every byte verified; `hf download` verifies nothing. Figures are
medians of the rounds.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from tests.benchmarks.costs import Cost, of_all, of_download
from tests.benchmarks.rivals import hf
from tests.fakehub.certificates import Certificates
from tests.fakehub.hub import Files, Hub
from tests.faults.engine import Engine
from worker.download.protocol import Bandwidth, Message, Progress

GIB, MIB = 1 << 30, 1 << 20
_EIGHT, _ONE = "bench/eight", "bench/one"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes: 0.1 for a quick look")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        tempfile.tempdir = name  # the content store, too
        with Hub(certificates=Certificates(folder)) as hub:
            hub.add(_EIGHT, _files(folder, "model", 8, int(512 * MIB * options.scale)), xet=True)
            hub.add(_ONE, _files(folder, "large", 1, int(2 * GIB * options.scale)), xet=True)
            compare(hub, folder / "target", options.rounds)
            killed(hub, folder / "target")
            stopped(hub, folder / "target")
            assert not [request for request in hub.requests if request.place == "file"], "not all of it came over Xet"


def compare(hub: Hub, target: Path, rounds: int) -> None:
    """What 8 files cost, in turn, round after round."""
    costs: dict[str, list[Cost]] = {"hf": [], "depot": []}
    for _ in range(rounds):
        for way, of in costs.items():
            target.mkdir()
            of.append(hf(hub, _EIGHT, target) if way == "hf" else of_download(hub, _EIGHT, target, xet="on"))
            shutil.rmtree(target)
    medians, gib = {way: of_all(values) for way, values in costs.items()}, _size(hub, _EIGHT) / GIB
    print(f"8 files of {gib / 8:.2f} GiB over Xet, https")
    for way, cost in medians.items():
        print(f"  {way:10} {cost.wall:8.2f} s {cost.cpu / gib:8.2f} s of CPU per GiB {cost.memory:6.0f} MB")
    theirs, ours = medians["hf"], medians["depot"]
    _limit("wall: depot / hf", ours.wall / theirs.wall, 1.0)
    _limit("CPU: depot / hf", ours.cpu / theirs.cpu, 1.2)
    _limit("memory of the download, MB", ours.memory, 150)


def killed(hub: Hub, target: Path) -> None:
    """Bytes that are sent again after a kill at 90 %.

    Without one, too, more bytes are sent than the file has: each request brings whole chunks.
    """
    total, before = _size(hub, _ONE), hub.bytes_sent()
    of_download(hub, _ONE, target, xet="on")
    shutil.rmtree(target)
    all_of_it, before = hub.bytes_sent() - before, hub.bytes_sent()
    engine = Engine(hub, target, _ONE, stall_window=30.0, xet="on")
    with engine.start() as attempt:
        # Slowly, because how far it is is told twice a second.
        attempt.send(Bandwidth(total // 10))
        outcome = attempt.outcome(lambda message: isinstance(message, Progress) and message.downloaded > 0.9 * total)
        attempt.process.kill()
    assert not outcome.done, "it was done before it could be killed: use larger files"
    assert engine.run().done
    engine.publish()
    _limit("killed at 90 %: MiB sent twice", (hub.bytes_sent() - before - all_of_it) / MIB, 64)
    shutil.rmtree(target)


def stopped(hub: Hub, target: Path) -> None:
    """Seconds from SIGTERM to the end of the process, in the middle."""

    def middle(message: Message) -> bool:
        return isinstance(message, Progress) and message.downloaded > 0

    hub.total_rate = _size(hub, _ONE) // 10
    _limit("stopped in the middle: seconds", of_download(hub, _ONE, target, until=middle, xet="on").wall, 2)
    shutil.rmtree(target)


def _files(folder: Path, name: str, count: int, size: int) -> Files:
    """Files of random bytes."""
    files = {f"{name}-{number}.safetensors": folder / f"{name}-{number}" for number in range(count)}
    for path in files.values():
        with path.open("wb") as output:
            for start in range(0, size, MIB):
                output.write(os.urandom(min(MIB, size - start)))
    return files


def _size(hub: Hub, name: str) -> int:
    repo = hub.repos["models", name]
    return sum(entry.content.size for entry in repo.commits[repo.branches["main"]].entries.values())


def _limit(what: str, value: float, most: float) -> None:
    print(f"  {what + f' <= {most:g}':50} {value:6.2f} {'OK' if value <= most else 'ABOVE'}", flush=True)


if __name__ == "__main__":
    main()
