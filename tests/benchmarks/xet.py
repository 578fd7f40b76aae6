"""Downloads over Xet, against `hf download` over Xet: `python -m tests.benchmarks.xet [--folder /dev/shm] [--rounds 3]`.

The tests' Hub on loopback, which speaks TLS, has a content store that the real hf_xet filled. "depot" is the download's own process from
its start to the rename that publishes, with every byte verified; `hf download` verifies nothing. The figures are medians
of the rounds; CPU is of the client's processes, in seconds per GiB; memory is the peak of the download's process.
"""

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.engine import CLEAN, Engine
from tests.hub import Files, Hub
from tests.hubs.certificates import Certificates

GIB, MIB, KIB = 1 << 30, 1 << 20, 1 << 10
_NAME = "bench/xet"
_MEMORY = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes: 0.1 for a quick look")
    parser.add_argument("--http", action="store_true", help="without TLS")
    options = parser.parse_args()
    compare(options.folder, options.rounds, options.scale, tls=not options.http)


def compare(folder: Path, rounds: int, scale: float, *, tls: bool) -> None:
    """Print what 8 x 512 MiB take, in turn, round after round."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="benchmark-") as name:
        place = Path(name)
        tempfile.tempdir = name  # the content store, too
        files = _files(place, int(512 * MIB * scale))
        total = sum(path.stat().st_size for path in files.values() if isinstance(path, Path)) / GIB
        with Hub(certificates=Certificates(place) if tls else None) as hub:
            hub.add(_NAME, files, xet=True)
            peak = 0

            def depot(target: Path) -> None:
                nonlocal peak
                peak = max(peak, _depot(hub, target))

            ways: dict[str, Callable[[Path], None]] = {"hf": lambda target: _hf(hub, target), "depot": depot}
            taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, run in ways.items():
                    taken[way].append(_measured(run, place / "target", total))
            assert not [request for request in hub.requests if request.place == "file"], "not all of it came over Xet"
    wall = {way: statistics.median(seconds for seconds, _ in values) for way, values in taken.items()}
    cpu = {way: statistics.median(seconds for _, seconds in values) for way, values in taken.items()}
    _print("Xet, 8 x 512 MiB, wall", wall, wall["hf"] / wall["depot"], 1.0, most=False)
    _print("Xet, 8 x 512 MiB, CPU per GiB", cpu, cpu["depot"] / cpu["hf"], 1.2, most=True)
    print(f"{'Xet, peak memory':34} {peak / KIB:.0f} MB (limit {_MEMORY}) {'ok' if peak <= _MEMORY * KIB else 'ABOVE'}")


def _files(folder: Path, size: int) -> Files:
    """Eight files of random bytes."""
    files = {}
    for number in range(8):
        path = folder / f"model-{number}.safetensors"
        with path.open("wb") as output:
            for start in range(0, size, MIB):
                output.write(os.urandom(min(MIB, size - start)))
        files[path.name] = path
    return files


def _measured(run: Callable[[Path], None], target: Path, total: float) -> tuple[float, float]:
    """Seconds of wall time, and seconds of CPU per GiB."""
    target.mkdir()
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run(target)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(target)
    return wall, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / total


def _print(title: str, seconds: dict[str, float], ratio: float, bound: float, *, most: bool) -> None:
    figures = "   ".join(f"{way} {value:6.2f} s" for way, value in seconds.items())
    kept = ratio <= bound if most else ratio >= bound
    limit = "limit" if most else "floor"
    print(f"{title:34} {figures}   ratio {ratio:5.2f} ({limit} {bound}) {'ok' if kept else 'MISSED'}", flush=True)


def _hf(hub: Hub, target: Path) -> None:
    program = Path(sys.executable).with_name("hf")
    environment = CLEAN | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(target / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }
    if hub.trust:
        environment["SSL_CERT_FILE"] = hub.trust
    command = [str(program), "download", _NAME, "--cache-dir", str(target / "cache"), "--quiet"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _depot(hub: Hub, target: Path) -> int:
    """Its peak memory, in KiB."""
    engine, peak = Engine(hub, target, _NAME, xet="on", stall_window=30), 0
    with engine.start() as attempt:

        def look(_message: object) -> bool:
            nonlocal peak
            status = Path(f"/proc/{attempt.process.pid}/status").read_text()
            # At its end it has no memory any more.
            peak = max([peak, *map(int, re.findall(r"VmHWM:\s*(\d+)", status))])
            return False

        outcome = attempt.outcome(look)
    assert outcome.done, outcome.messages[-1]
    engine.publish()
    return peak


if __name__ == "__main__":
    main()
