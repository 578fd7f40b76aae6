"""What the fault tests are given: one repository with large and small files, and attempts at it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest
from huggingface_hub.utils._http import default_client_factory, set_client_factory

from tests.fakehub.certificates import Certificates
from tests.fakehub.hub import Content, Files, Hub, Repo, Synthetic
from tests.faults.engine import Engine

NAME = "acme/model"
LARGE = 40 << 20
"""More than one request asks for, so that ranges are."""
FILES: Files = {
    "model.safetensors": Synthetic(LARGE, 1),
    "second.safetensors": Synthetic((9 << 20) + 12_345, 2),
    "config.json": b'{"kind": "test"}',
    "folder/vocabulary.txt": b"one\ntwo\n" * 1000,
    "empty.txt": b"",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every Hub speaks https, as the real one does, unless a module's `SCHEMES` say otherwise."""
    if "hub" in metafunc.fixturenames:
        metafunc.parametrize("scheme", getattr(metafunc.module, "SCHEMES", ["https"]))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def hub(scheme: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    if scheme == "https":
        monkeypatch.setenv("SSL_CERT_FILE", certificates.trust)
    with Hub(certificates=certificates if scheme == "https" else None) as hub:
        yield hub


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add(NAME, FILES)


@pytest.fixture
def engine(hub: Hub, repo: Repo, tmp_path: Path) -> Engine:
    return Engine(hub, tmp_path / "storage", repo.name)


@pytest.fixture
def client_of_its_own() -> Iterator[None]:
    """Gives huggingface_hub its own client back, after a test in this process that made it one of a download's."""
    yield
    set_client_factory(default_client_factory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 32 MiB."""
    with mounted(tmp_path / "disk") as problem:
        if problem:
            pytest.skip(problem)
        yield tmp_path / "disk"


@contextmanager
def mounted(folder: Path, mebibytes: int = 32) -> Iterator[str]:
    """A tmpfs at a new folder; or why there can't be one, and then it is an ordinary folder."""
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        yield "mounting a small disk needs root on Linux"
        return
    words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode:
        yield f"can't mount a small disk: {done.stderr.decode()}"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(repo: Repo, branch: str = "main") -> dict[str, bytes]:
    """What the Hub has."""
    entries = repo.commits[repo.branches[branch]].entries
    return {path: _bytes(entry.content) for path, entry in entries.items()}


@lru_cache(8)
def _bytes(content: Content) -> bytes:
    return b"".join(bytes(block) for block in content.blocks(0, content.size))


def published(engine: Engine) -> dict[str, bytes]:
    """Publish what the engine's last attempt completed; its files."""
    return files_below(engine.publish())
