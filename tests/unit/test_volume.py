"""The storage as a whole, as what asks of it sees it."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from app.depot.volume import Volume, VolumeAway
from app.storage.posix import PosixStore


class _Hanging(PosixStore):
    """As on a mount that does not answer, until it is `back`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.back = threading.Event()
        self.looks = 0

    def check_writable(self) -> None:
        self.looks += 1
        self.back.wait()
        super().check_writable()


async def test_who_asks_of_a_storage_that_hangs_once_more_is_told_at_once(tmp_path: Path) -> None:
    store = _Hanging(tmp_path / "storage")
    store.prepare()
    volume = Volume(store, writes=True)
    with pytest.raises(VolumeAway, match="did not answer"):
        await volume.look()
    began = time.monotonic()
    for _ in range(10):
        with pytest.raises(VolumeAway, match="did not answer"):
            await volume.look()
    assert time.monotonic() - began < 10, "each waits for two seconds"
    assert store.looks == 1
    store.back.set()
    while True:
        try:
            await volume.look()
        except VolumeAway:
            await asyncio.sleep(0.01)
        else:
            break
