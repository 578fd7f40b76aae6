"""Downloads, against curl and `hf download`: `python -m tests.benchmarks.downloads [--folder /dev/shm] [--rounds 3]`.

nginx on loopback is the Hub (`apt-get install nginx-light curl`). "depot" is the download's own process from its start
to the rename that publishes: resolved, fetched, verified, synchronised. curl and hf verify nothing. The figures are
medians of the rounds; a ratio above 1 means that the depot is faster.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.nginx import Nginx
from tests.faults.engine import CLEAN, Engine

GIB, MIB, KIB = 1 << 30, 1 << 20, 1 << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes: 0.1 for a quick look")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder, scale = Path(name), options.scale
        hub, slow = Nginx(folder / "fast"), Nginx(folder / "slow", rate=20_000_000)
        hub.add("bench/one", {"model.safetensors": int(4 * GIB * scale)})
        hub.add("bench/eight", {f"model-{n}.safetensors": int(512 * MIB * scale) for n in range(8)})
        hub.add("bench/small", {f"folder/{n}.json": 16 * KIB for n in range(int(2000 * scale))}, lfs=False)
        hub.add("bench/killed", {"model.safetensors": int(2 * GIB * scale)})
        hub.add("bench/twenty", {f"model-{n:02}.safetensors": int(32 * MIB * scale) for n in range(20)})
        hub.revise("bench/twenty", "bench/revised", "model-07.safetensors")
        slow.add("bench/limited", {"model.safetensors": int(GIB * scale)})
        with hub, slow:
            compare(hub, "bench/one", "1 x 4 GiB", folder, options.rounds, {"curl": 0.8, "hf": 1.5})
            compare(hub, "bench/eight", "8 x 512 MiB", folder, options.rounds, {"curl": 0.8, "hf": 1.5})
            compare(hub, "bench/small", "2000 x 16 KiB", folder, options.rounds, {"hf": 0.9})
            compare(slow, "bench/limited", "1 x 1 GiB, 20 MB/s a connection", folder, 1, {"hf": 4.0})
            killed(hub, folder)
            revised(hub, folder)
            memory(hub, folder)


def compare(hub: Nginx, name: str, title: str, folder: Path, rounds: int, floors: dict[str, float]) -> None:
    """Print how long each takes, in turn, round after round."""
    ways: dict[str, Callable[[Path], None]] = {
        "curl": lambda target: _curl(hub, name, target),
        "hf": lambda target: _hf(hub, name, target),
        "depot": lambda target: _depot(hub, name, target),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            target = folder / "target"
            target.mkdir()
            began = time.perf_counter()
            run(target)
            seconds[way].append(time.perf_counter() - began)
            shutil.rmtree(target)
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    times = "   ".join(f"{way} {value:6.2f} s" for way, value in medians.items())
    for baseline, floor in floors.items():
        ratio = medians[baseline] / medians["depot"]
        print(
            f"{title:34} {times}   depot/{baseline} {ratio:5.2f} (floor {floor}) {'ok' if ratio >= floor else 'BELOW'}"
        )
    sys.stdout.flush()


def killed(hub: Nginx, folder: Path) -> None:
    """Bytes that are fetched again after a kill at 90 %."""
    engine = Engine(hub, folder / "target", "bench/killed")
    before = hub.bytes_sent()
    # Slowly, because how far it is is told twice a second.
    with engine.start(bandwidth=_total(folder) // 10) as attempt:
        outcome = attempt.outcome(
            lambda message: message["event"] == "progress" and message["downloaded"] > 0.9 * _total(folder)
        )
        attempt.process.kill()
    assert not outcome.done, "it was done before it could be killed: use larger files"
    resumed = engine.run()
    assert resumed.done
    engine.publish()
    again = (hub.bytes_sent() - before - _total(folder)) / MIB
    kept = next(message for message in resumed.messages if message["event"] == "planned")
    print(
        f"killed at 90 % of 2 GiB             {kept['missing'] / MIB:.0f} MiB were missing, {again:.0f} MiB sent twice (limit 64) {'ok' if again <= 64 else 'ABOVE'}"
    )
    shutil.rmtree(folder / "target")


def revised(hub: Nginx, folder: Path) -> None:
    """Bytes that are fetched for a model that differs in one of 20 files from one that is there."""
    first = Engine(hub, folder / "target", "bench/twenty")
    outcome = first.run()
    assert outcome.done
    published = first.publish()
    before = hub.bytes_sent()
    second = Engine(hub, folder / "target", "bench/revised")
    second.links = {
        message["sha256"]: str(published / message["path"])
        for message in outcome.messages
        if message["event"] == "verified"
    }
    assert second.run().done
    changed = (second.publish() / "model-07.safetensors").stat().st_size
    sent = hub.bytes_sent() - before
    verdict = "ok" if sent == changed else "ABOVE"
    print(f"1 of 20 files changed               {sent} bytes sent, {changed} bytes changed {verdict}")
    shutil.rmtree(folder / "target")


def memory(hub: Nginx, folder: Path) -> None:
    """The child's peak memory."""
    peak = 0
    engine = Engine(hub, folder / "target", "bench/eight")
    with engine.start() as attempt:

        def look(_message: object) -> bool:
            nonlocal peak
            status = Path(f"/proc/{attempt.process.pid}/status").read_text()
            # At its end it has no memory any more.
            peak = max([peak, *map(int, re.findall(r"VmHWM:\s*(\d+)", status))])
            return False

        assert attempt.outcome(look).done
    print(
        f"peak memory, 8 x 512 MiB            {peak / KIB:.0f} MB (limit 200) {'ok' if peak <= 200 * KIB else 'ABOVE'}"
    )
    shutil.rmtree(folder / "target")


def _total(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("fast/www/bench/killed/resolve/*/*"))


def _curl(hub: Nginx, name: str, target: Path) -> None:
    """One process; several files in parallel."""
    addresses = hub.addresses(name)
    command = ["curl", "-s", "-f"] + (["-Z", "--no-progress-meter"] if len(addresses) > 1 else [])
    for address in addresses:
        command += ["-o", str(target / address.rsplit("/", 1)[1]), address]
    subprocess.run(command, check=True)


def _hf(hub: Nginx, name: str, target: Path) -> None:
    program = Path(sys.executable).with_name("hf")
    environment = CLEAN | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(target / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }
    command = [str(program), "download", name, "--cache-dir", str(target / "cache"), "--quiet"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _depot(hub: Nginx, name: str, target: Path) -> None:
    engine = Engine(hub, target, name)
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    engine.publish()


if __name__ == "__main__":
    main()
