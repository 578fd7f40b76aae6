"""Files of published models are opened, and nothing else is."""

import os
import shutil
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.storage import open_store
from app.storage.base import OpenFile
from app.storage.posix import PosixStore
from tests.processes import opened


@pytest.fixture
def model(tmp_path: Path) -> UUID:
    """A published model, with links and other things beside its files."""
    model_id = uuid4()
    open_store(tmp_path / "storage").prepare()
    folder = tmp_path / "storage" / "models" / str(model_id)
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "a" / "b" / "deep.txt").write_text("deep")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (folder / "inside.txt").symlink_to("config.json")
    (folder / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")
    return model_id


def _read(file: OpenFile) -> bytes:
    try:
        return file.read(0, file.size)
    finally:
        file.close()


def test_a_file_is_opened_with_its_size(tmp_path: Path, model: UUID) -> None:
    for path, content in (("config.json", b"{}"), ("a/b/deep.txt", b"deep")):
        opened = PosixStore(tmp_path / "storage").open(model, path)
        assert opened.size == len(content)
        assert _read(opened) == content


@pytest.mark.parametrize(
    "path",
    [
        "link.txt",
        "inside.txt",
        "linked/secret.txt",
        "pipe",
        "a",
        "a/b",
        "",
        ".",
        "..",
        "../../depot/mark",
        "a/../config.json",
        "/etc/passwd",
        "a//b/deep.txt",
        "config.json/",
        "config.json/x",
        "config.json\0",
        "nope.txt",
        "nope/nope.txt",
        "x" * 300,
    ],
)
def test_nothing_else_is_opened_and_nothing_stays_open(tmp_path: Path, model: UUID, path: str) -> None:
    before = set(opened(os.getpid()))
    with pytest.raises(OSError):  # noqa: PT011  # which one depends on the file system
        PosixStore(tmp_path / "storage").open(model, path)
    assert set(opened(os.getpid())) <= before


def test_a_model_that_is_not_there_has_no_files(tmp_path: Path, model: UUID) -> None:
    with pytest.raises(FileNotFoundError):
        PosixStore(tmp_path / "storage").open(uuid4(), "config.json")
    with pytest.raises(FileNotFoundError):
        PosixStore(tmp_path / "nowhere").open(model, "config.json")


def test_the_storage_itself_may_be_a_link(tmp_path: Path, model: UUID) -> None:
    (tmp_path / "mounted").symlink_to("storage")
    assert _read(PosixStore(tmp_path / "mounted").open(model, "config.json")) == b"{}"


def test_an_open_file_outlives_its_model(tmp_path: Path, model: UUID) -> None:
    opened = PosixStore(tmp_path / "storage").open(model, "a/b/deep.txt")
    shutil.rmtree(tmp_path / "storage" / "models" / str(model))
    assert _read(opened) == b"deep"
