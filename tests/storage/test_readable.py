"""What is published can be read by every user of the machine, as engines run as others than the worker."""

import os
import stat

import pytest

from tests.cli.test_storage_commands import ready, rot, storage_command
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub

WEIGHTS = os.urandom(1 << 20)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_folders_are_as_readable_as_files_whatever_the_worker_s_umask(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/deep", {"a/b/w.safetensors": WEIGHTS, "c/twin.safetensors": WEIGHTS, "config.json": b"{}"})
    before = os.umask(0o077)
    try:
        depot = start_depot()
        model = ready(depot, "acme/deep")
        published = depot.storage / "models" / model["id"]
        rot(published / "a" / "b" / "w.safetensors")
        (published / "c" / "twin.safetensors").unlink()
        (published / "c").rmdir()
        repaired = storage_command(depot, "verify", "--repair", model["id"])
        assert depot.wait(repaired.stdout.split()[-1])["state"] == "success"
    finally:
        os.umask(before)
    assert (published / "c" / "twin.safetensors").read_bytes() == WEIGHTS
    for top in (depot.storage / "models", depot.storage / "by-name"):
        found = [path for path in (top, *top.rglob("*")) if not path.is_symlink()]
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in found}
        assert modes == {path: 0o755 if path.is_dir() else 0o444 for path in found}
