"""What a file system lacks is told before the first byte is fetched, and hard links are not needed."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from app.domain.errors import Failed
from app.standalone.folder import DataFolder
from app.storage.abilities import check_abilities
from app.storage.posix import PosixStore


def _refuse(*_: object, **__: object) -> NoReturn:
    """As exFAT and some FUSE mounts do."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def storage(tmp_path: Path) -> PosixStore:
    storage = PosixStore(tmp_path / "storage")
    storage.prepare()
    return storage


@pytest.mark.parametrize(
    ("what", "where", "name"),
    [("symbolic links", Path, "symlink_to"), ("renames of folders", Path, "rename"), ("locks", "fcntl", "flock")],
)
def test_what_publishing_takes_and_the_file_system_lacks_is_named(
    storage: PosixStore, monkeypatch: pytest.MonkeyPatch, what: str, where: type[Path] | str, name: str
) -> None:
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{name}", _refuse)
    else:
        monkeypatch.setattr(where, name, _refuse)
    with pytest.raises(Failed, match=f"has no {what}") as failed:
        check_abilities(storage.layout.root)
    assert "DEPOT_STORAGE" in failed.value.message
    assert list(storage.layout.root.glob("*/*")) == []


def test_hard_links_are_not_needed(storage: PosixStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_abilities(storage.layout.root)
    monkeypatch.setattr(os, "link", _refuse)
    assert not check_abilities(storage.layout.root)
    assert list(storage.layout.root.glob("*/*")) == []


def test_a_data_folder_needs_no_hard_links_and_keeps_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _refuse)
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    keys = [path.read_text() for path in (folder.key, folder.api_key)]
    assert all(keys)
    assert {path.stat().st_mode & 0o777 for path in (folder.key, folder.api_key)} == {0o600}
    folder.prepare()
    assert [path.read_text() for path in (folder.key, folder.api_key)] == keys
    assert sorted(path.name for path in folder.path.iterdir()) == ["api.key", "secret.key", "storage"]
