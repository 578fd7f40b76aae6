"""Bytes are synced beside those who write them; who writes learns of a sync that failed."""

import pytest

from worker.download.flusher import Flusher


def test_a_synchronisation_that_fails_is_told_to_who_writes() -> None:
    class Broken:
        def sync(self) -> None:
            raise OSError(5, "Input/output error")

    flusher = Flusher()
    with pytest.raises(OSError, match="Input/output"):
        flusher.wrote(Broken(), 32 << 20)
