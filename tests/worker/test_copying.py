"""`modeldepot storage copy` between folders and buckets, with a depot at work; and the change to a copy."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.db.migrate import upgrade
from app.storage.locations import S3Options
from tests.buckets import Place, Server
from tests.cli.test_storage_commands import ready, rot
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.faults.relays import Relay
from tests.processes import BUSY, until
from worker.maintenance import copying, inventory, verify

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_PART = 8 << 20
WEIGHTS = os.urandom(5 * _PART + 4711)
"""Six parts, three of which are sent at the same time."""
Done = subprocess.CompletedProcess[str]
Command = Callable[..., Done]
FILES = {"config.json": b"{}", "empty.txt": b"", "model.safetensors": WEIGHTS, "sub/tokenizer.json": os.urandom(5000)}


class Slow(Relay):
    """Lets so many bytes a second pass on each connection, and counts what is sent to the target."""

    rate = 4 << 20
    sent = 0

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        to_target = sink.getpeername()[:2] == self._target
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if to_target:
                    self.sent += len(data)
                time.sleep(len(data) / self.rate)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`modeldepot storage` with some words, in this process: one of its own is slow."""

    def carry_out(depot: Depot, name: str, *words: str) -> Done:
        for variable, value in depot.environment.items():
            monkeypatch.setenv(variable, value)
        main = {"copy": copying.main, "verify": verify.main}.get(name, inventory.main)
        monkeypatch.setattr(sys, "argv", ["", *([name] if main is inventory.main else []), *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told, code = capsys.readouterr(), ended.value.code
        text = code if isinstance(code, str) else ""
        return subprocess.CompletedProcess(words, 1 if text else int(code or 0), told.out, told.err + text)

    return carry_out


@pytest.fixture
def place(versitygw: Server) -> Place:
    return versitygw.place()


@pytest.fixture
def slow(place: Place) -> Iterator[Slow]:
    with Slow(("127.0.0.1", place.server.port)) as relay:
        yield relay


@SQLITE
def test_a_depot_changes_to_a_bucket_and_back_to_a_folder_byte_for_byte(
    command: Command, start_depot: StartDepot, hub: Hub, place: Place, tmp_path: Path
) -> None:
    hub.add("acme/large", FILES)
    hub.add("acme/shares", {"again.safetensors": WEIGHTS, "README.md": b"# hi"})
    depot = start_depot(**_s3(place.server.options))
    models = [ready(depot, "acme/large"), ready(depot, "acme/shares")]
    before = _contents(depot.storage / "models")
    copied = command(depot, "copy", "--to", place.location)
    assert (copied.returncode, copied.stdout.count("\ncopied ") + copied.stdout.startswith("copied ")) == (0, 2), copied
    objects = {one.key: one for one in place.objects.below(f"{place.prefix}/models/")}
    again = command(depot, "copy", "--to", place.location, "--deep")
    assert (again.returncode, again.stdout.count("there ")) == (0, 2), again
    assert {one.key: one for one in place.objects.below(f"{place.prefix}/models/")} == objects

    # The copy lacks a model that came since: nothing changes. With it, it does, and the former folder is refused.
    hub.add("acme/late", {"config.json": b"1"})
    models.append(ready(depot, "acme/late"))
    before = _contents(depot.storage / "models")
    _restart(depot, place.location)
    until(lambda: "lacks 1 of its models" in depot.logs(), depot.logs)
    assert depot.model(models[0]["id"])["path"] == models[0]["path"]
    former = str(depot.storage)
    depot.environment["DEPOT_STORAGE"] = former
    assert command(depot, "copy", "--to", place.location).returncode == 0
    _restart(depot, place.location)
    until(lambda: "changed to a copy" in depot.logs(), depot.logs)
    for model in models:
        path = depot.model(model["id"])["path"]
        assert path.startswith(f"{place.location}/models/acme/")
        assert path.endswith(model["id"])
    until(lambda: depot.client.get(depot.address("/readyz")).status_code == 200, depot.logs)
    depot.environment["DEPOT_STORAGE"] = former
    refused = command(depot, "check")
    assert (refused.returncode, "is not the storage of this depot" in refused.stderr) == (1, True), refused
    depot.environment["DEPOT_STORAGE"] = place.location

    # What is deleted now is gone from the bucket, and in the next copy.
    gone = depot.client.delete(f"/ai/model/{models[2]['id']}").json()
    assert depot.wait(gone["id"])["state"] == "success"
    elsewhere = tmp_path / "disk" / "depot"
    assert command(depot, "copy", "--to", f"file://{elsewhere}").returncode == 0
    assert _contents(elsewhere / "models") == {
        path: data for path, data in before.items() if models[2]["id"] not in path
    }
    shared = (elsewhere / "models" / models[0]["id"] / "model.safetensors").stat()
    assert shared.st_nlink == 2

    # Another site has nothing but that folder.
    upgrade(f"sqlite:///{tmp_path / 'site.sqlite3'}")
    depot.environment |= {
        "DEPOT_STORAGE": str(elsewhere),
        "DEPOT_DATABASE_URL": f"sqlite:///{tmp_path / 'site.sqlite3'}",
    }
    adopted = command(depot, "adopt", "--all")
    assert (adopted.returncode, adopted.stdout.count("adopted ")) == (0, 2), adopted
    assert command(depot, "verify").returncode == 0


@SQLITE
def test_a_copy_that_was_killed_goes_on_inside_the_file(
    command: Command, start_depot: StartDepot, hub: Hub, place: Place, slow: Slow
) -> None:
    hub.add("acme/large", FILES)
    depot = start_depot(**_s3(place.server.options))
    model = ready(depot, "acme/large")
    to_slow = [place.location, "--endpoint", f"http://127.0.0.1:{slow.port}"]
    with _started(depot, *to_slow) as process:
        until(lambda: _sent(place), lambda: str(place.keys()))
        process.send_signal(signal.SIGKILL)
    (parts,) = _sent(place)
    assert not place.open().has(UUID(model["id"]))
    with Slow(("127.0.0.1", place.server.port)) as fast:
        fast.rate = 1 << 30
        to_fast = ["--to", place.location, "--endpoint", f"http://127.0.0.1:{fast.port}"]
        assert command(depot, "copy", *to_fast).returncode == 0
    assert fast.sent < len(WEIGHTS) - parts * _PART + (1 << 20)
    _is_whole(place, model)


@SQLITE
def test_a_model_that_is_deleted_meanwhile_is_not_in_the_copy(
    command: Command, start_depot: StartDepot, hub: Hub, place: Place, slow: Slow
) -> None:
    hub.add("acme/large", FILES)
    depot = start_depot(**_s3(place.server.options))
    model = ready(depot, "acme/large")
    with _started(depot, place.location, "--endpoint", f"http://127.0.0.1:{slow.port}") as process:
        until(lambda: "arriving/" in str(place.keys()), lambda: str(place.keys()))
        deleted = depot.client.delete(f"/ai/model/{model['id']}").json()
        assert depot.wait(deleted["id"])["state"] == "success"
        slow.rate = 1 << 30
        told, _ = process.communicate(timeout=60 + BUSY)
        assert process.returncode == 0, told
    assert "was deleted meanwhile" in told
    assert place.keys() == ["depot/mark"]
    # One that was deleted since goes to the trash.
    kept = ready(depot, "acme/large")
    assert command(depot, "copy", "--to", place.location).returncode == 0
    _is_whole(place, kept)
    deleted = depot.client.delete(f"/ai/model/{kept['id']}").json()
    assert depot.wait(deleted["id"])["state"] == "success"
    assert f"removed   {kept['id']}" in command(depot, "copy", "--to", place.location).stdout
    assert f"depot/trash/{kept['id']}.json" in str(place.keys())


@SQLITE
def test_what_rotted_is_not_copied_and_what_rots_in_the_copy_is_copied_again(
    command: Command, start_depot: StartDepot, hub: Hub, tmp_path: Path
) -> None:
    for name in ("acme/rotten", "acme/sound"):
        hub.add(name, FILES | {"name.txt": name.encode(), "w.bin": os.urandom(_PART + 1)})
    depot = start_depot()
    rotten, sound = ready(depot, "acme/rotten"), ready(depot, "acme/sound")
    whole = (depot.storage / "models" / rotten["id"] / "w.bin").read_bytes()
    rot(depot.storage / "models" / rotten["id"] / "w.bin")
    target = tmp_path / "target"
    refused = command(depot, "copy", "--to", f"file://{target}")
    assert refused.returncode == 1
    assert f"NOT COPIED  {rotten['id']}  acme/rotten: w.bin differs from its checksum" in refused.stdout
    assert [path.name for path in (target / "models").iterdir()] == [sound["id"]]
    assert not (target / "depot" / "mark").exists(), "nobody may change to half a copy"

    file = depot.storage / "models" / rotten["id"] / "w.bin"
    file.write_bytes(whole)
    assert command(depot, "copy", "--to", str(target)).returncode == 0
    assert _contents(target / "models") == _contents(depot.storage / "models")
    rot(target / "models" / sound["id"] / "name.txt")
    assert "mended" not in command(depot, "copy", "--to", str(target)).stdout
    mended = command(depot, "copy", "--to", str(target), "--deep")
    assert (mended.returncode, f"mended    {sound['id']}" in mended.stdout) == (0, True), mended
    assert _contents(target / "models") == _contents(depot.storage / "models")


@SQLITE
def test_nothing_is_copied_into_a_storage_of_another_depot(
    command: Command, start_depot: StartDepot, tmp_path: Path
) -> None:
    depot = start_depot(workers=1, api=False)
    until((depot.storage / "depot" / "mark").exists, depot.logs)
    other = tmp_path / "other"
    # A worker tries what the storage can do meanwhile.
    shutil.copytree(depot.storage, other, ignore=shutil.ignore_patterns(".try-*"))
    for target, told in (
        (str(depot.storage), "storage of this depot itself"),
        (str(other), "storage of this depot itself"),
        ("relative", "must be s3://bucket/prefix or file:///folder"),
        ("s3://", "--to is wrong"),
        ("gs://bucket/prefix", "must be s3://bucket/prefix or file:///folder"),
    ):
        refused = command(depot, "copy", "--to", target)
        assert (refused.returncode, told in refused.stderr) == (2, True), refused
    (other / "depot" / "mark").write_text("6af66ad4-a294-4da8-8d6f-3638892c1c7a\n")
    refused = command(depot, "copy", "--to", str(other))
    assert (refused.returncode, "storage of another depot" in refused.stderr) == (2, True), refused
    nowhere = command(
        depot, "copy", "--to", "s3://bucket", "--endpoint", "http://127.0.0.1:9", "--key-file", str(_key(tmp_path))
    )
    assert (nowhere.returncode, "does not answer" in nowhere.stderr) == (1, True), nowhere


def _s3(options: S3Options) -> dict[str, str]:
    return {
        "s3_endpoint": options.endpoint,
        "s3_access_key": options.access_key,
        "s3_secret_key": options.secret_key,
    }


def _key(folder: Path) -> Path:
    file = folder / "key"
    file.write_text("id:secret\n")
    return file


def _started(depot: Depot, target: str, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "worker.maintenance.copying", "--to", target, *words]
    return subprocess.Popen(command, env=depot.environment, stdout=subprocess.PIPE, text=True)


def _restart(depot: Depot, storage: str) -> None:
    """Everything, with another DEPOT_STORAGE."""
    assert depot.api
    for process in (*depot.workers, depot.api):
        process.terminate()
        process.wait(BUSY)
    depot.workers.clear()
    depot.environment["DEPOT_STORAGE"] = storage
    depot.start_worker()
    depot.start_api()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _sent(place: Place) -> list[int]:
    """How many parts are recorded of each upload of which some are."""
    prefix = f"{place.prefix}/depot/arriving/"
    found = [json.loads(place.objects.get(one.key)) for one in place.objects.below(prefix)]
    return [len(record["etags"]) for record in found if record.get("etags")]


def _is_whole(place: Place, model: dict[str, Any]) -> None:
    for path, data in FILES.items():
        with place.open().open(UUID(model["id"]), path).reader() as reader:
            assert reader.read() == data
