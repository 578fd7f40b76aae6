"""The API is stopped in the middle of a large file and started again: clients of the Hub end with every byte of it."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from app.standalone.supervisor import answers
from tests.clients.test_hub_clients import LARGE, NAME, VERSIONS
from tests.depot import Depot
from tests.environments import python_environment
from tests.fakehub.hub import Hub
from tests.hub_api.clients import environment
from tests.processes import BUSY, until
from tests.servers import Redis

_NEWEST = "2.4"
_HELD = 25_000_000
"""Bytes after which a client stops reading: more than two of the pieces in which these clients write a file, and so much
less than all of it that the kernel does not hold the rest."""
_PIECE = 10 << 20
_DOWNLOAD = f"""
import hashlib, socket, sys, time
from pathlib import Path
import huggingface_hub as h
arrived = 0
def held(receive):
    def received(*given):
        global arrived
        got = receive(*given)
        arrived += got if isinstance(got, int) else len(got)
        if arrived > {_HELD} and not Path("goes-on").exists():
            Path("holds").touch()
            while not Path("goes-on").exists():
                time.sleep(0.01)
        return got
    return received
socket.socket.recv, socket.socket.recv_into = held(socket.socket.recv), held(socket.socket.recv_into)
print(hashlib.sha256(Path(h.hf_hub_download(sys.argv[1], "model.safetensors")).read_bytes()).hexdigest())
"""
"""It reads no further than that until the test lets it: what the API sends waits in the API, as behind a slow line."""


@pytest.fixture(scope="module")
def depot(migrated_sqlite: Path, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    """One that keeps a large file, and waits as short as it can for clients when it stops."""
    folder = tmp_path_factory.mktemp("restarts")
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    url = f"sqlite:///{folder / 'depot.sqlite3'}"
    with Hub() as hub:
        hub.add(NAME, {"model.safetensors": LARGE})
        depot = Depot(folder, database_url=url, redis_url=redis_server.url, hub_endpoint=hub.endpoint, drain=0)
        try:
            assert depot.wait(depot.create(NAME)["id"])["state"] == "success"
            yield depot
            assert "Traceback" not in depot.logs()
        finally:
            depot.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A client's folder, gone at the end: its cache is as large as the file."""
    yield tmp_path
    shutil.rmtree(tmp_path)


class _Client:
    """A download by a version of huggingface_hub, from `with` to the end of it, with its cache in `home`."""

    def __init__(self, depot: Depot, home: Path, version: str) -> None:
        self._home, self._environment = home, environment(depot, home)
        self._python = (
            sys.executable
            if version == _NEWEST
            else str(python_environment(f"huggingface_hub-{version}", *VERSIONS[version]) / "python")
        )

    def __enter__(self) -> Self:
        with (self._home / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [self._python, "-c", _DOWNLOAD, NAME], env=self._environment, cwd=self._home, stdout=said, stderr=said
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def holds(self) -> None:
        """Wait until it has some of the file and reads no further."""
        until(lambda: (self._home / "holds").exists() or self._process.poll() is not None, self.said)
        assert self._process.poll() is None, self.said()

    def goes_on(self) -> None:
        (self._home / "goes-on").touch()

    def ends(self) -> int:
        """Its exit code."""
        return self._process.wait(60 + BUSY)

    def said(self) -> str:
        return (self._home / "said").read_text()

    def has_all(self) -> bool:
        return self.said().split()[-1:] == [LARGE.sha256]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("version", [*VERSIONS, _NEWEST])
def test_a_file_is_resumed_after_a_restart(depot: Depot, home: Path, version: str, end: signal.Signals) -> None:
    api = depot.api
    assert api is not None
    with _Client(depot, home, version) as client:
        client.holds()
        api.send_signal(end)
        api.wait(7 + BUSY)
        depot.start_api()
        client.goes_on()
        code = client.ends()
    if version == _NEWEST:
        assert (code, client.has_all()) == (0, True), client.said()
    else:
        # Those before it don't ask again by themselves, but use what they have when they are called again.
        assert code != 0
        assert "IncompleteRead" in client.said()
        with _Client(depot, home, version) as client:
            assert (client.ends(), client.has_all()) == (0, True), client.said()
    (resumed,) = _sent(depot)
    assert resumed["status"] == 206
    assert 0 < resumed["bytes"] <= LARGE.size - 2 * _PIECE


def test_a_stop_leaves_a_client_the_time_to_end(depot: Depot, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(depot.environment, "DEPOT_DRAIN", "60")
    assert depot.api is not None
    depot.api.kill()
    depot.api.wait()
    api = depot.start_api()
    with _Client(depot, home, "0.36.2") as client:
        client.holds()
        api.terminate()
        until(lambda: not answers(depot.host, depot.port), depot.logs)
        client.goes_on()
        assert (client.ends(), client.has_all()) == (0, True), client.said()
    assert api.wait(BUSY) == 0
    depot.start_api()


def _sent(depot: Depot) -> list[dict[str, Any]]:
    """The log's lines of the file's sends, by the API that was started last."""
    newest = max(depot.folder.glob("*-api.log"), key=lambda path: int(path.name.partition("-")[0]))
    lines = [json.loads(line) for line in newest.read_text().splitlines()]
    return [
        line
        for line in lines
        if line["event"] == "answered" and line["method"] == "GET" and line["path"].endswith("/model.safetensors")
    ]
