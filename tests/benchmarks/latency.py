"""What `modeldepot up` takes to start, to act on a create, and when idle: `python -m tests.benchmarks.latency`.

The real processes, with the Hub on loopback. "first byte" is when the Hub is asked for the first byte of a file: the
doorbell, the claim, the access check and the manifest come before it. Linux only.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from app.standalone.supervisor import answers
from tests.fakehub.hub import Hub
from tests.processes import free_port

_START, _FIRST_BYTE, _IDLE = 5.0, 0.3, 3.0
"""Seconds, seconds, per cent of a core: the limits."""
_APART = 1.0
"""Seconds between creates."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=30)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to look at the idle processes for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, Hub() as hub:
        for number in range(options.creates):
            hub.add(f"bench/tiny-{number}", {"config.json": b"{}", "model.safetensors": os.urandom(4096)})
        with _up(Path(name), hub) as (process, port, seconds):
            _say("start of up to first 200", f"{seconds:.2f} s", f"{_START:.0f} s", good=seconds <= _START)
            key = (Path(name) / "data" / "api.key").read_text().strip()
            waits = sorted(_create(hub, port, key, f"bench/tiny-{number}") for number in range(options.creates))
            p50, worst = statistics.median(waits), waits[-1]
            shown = f"p50 {p50 * 1000:.0f} ms, worst {worst * 1000:.0f} ms"
            _say("create to first byte requested", shown, f"{_FIRST_BYTE * 1000:.0f} ms", good=p50 <= _FIRST_BYTE)
            time.sleep(2 * _APART)
            per_cent = _idle(process.pid, options.idle)
            _say("idle CPU of up", f"{per_cent:.2f} % of a core", f"{_IDLE:.0f} %", good=per_cent <= _IDLE)


def _say(what: str, figure: str, limit: str, *, good: bool) -> None:
    print(f"{what:35} {figure} (limit {limit}) {'ok' if good else 'ABOVE'}", flush=True)


@contextmanager
def _up(folder: Path, hub: Hub) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """The command, its port, and how many seconds it took to answer."""
    port = free_port()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DEPOT_", "HF_"))}
    with (folder / "log").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up", "--data", str(folder / "data"), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean | {"DEPOT_HUB_ENDPOINT": hub.endpoint, "DEPOT_RESERVE": "0"},
        )
    try:
        while not answers("127.0.0.1", port):
            if process.poll() is not None or time.monotonic() - began > 60:
                raise SystemExit(f"it did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.01)
        yield process, port, time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _create(hub: Hub, port: int, key: str, name: str) -> float:
    """Seconds from the request to the first byte asked for; returns when the model is ready."""
    time.sleep(_APART * random.uniform(0.9, 1.1))
    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/v2", headers=headers) as client:
        began = time.monotonic()
        operation = client.post("/ai/model", json={"name": name}).raise_for_status().json()
        while operation["state"] == "pending":
            time.sleep(0.05)
            operation = client.get(f"/operation/{operation['id']}").raise_for_status().json()
    assert operation["state"] == "success", operation
    return min(request.started for request in hub.requests if request.repo == name and request.place == "file") - began


def _idle(pid: int, seconds: float) -> float:
    """Per cent of a core that a process and its descendants use."""
    before, began = _ticks(pid), time.monotonic()
    time.sleep(seconds)
    used = _ticks(pid) - before
    return 100 * used / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for path in children for child in path.read_text().split()]
    return int(fields[11]) + int(fields[12]) + sum(_ticks(child) for child in below)


if __name__ == "__main__":
    main()
