"""Allocates disk space before bytes are written. Without that, a file is fragmented.

Measured on ext4: 1 GiB from eight connections, synchronised as it arrived, took 0.2 s of CPU or more and had 125
fragments; with space allocated in advance it took 0.13 s and had 9. A whole file is not allocated at once: what a
download still needs is counted as space that it has not allocated yet.
"""

import ctypes
from collections.abc import Callable
from contextlib import suppress


def _find() -> Callable[..., int] | None:
    """Return fallocate(2): on a file system without it, posix_fallocate would write to every block instead."""
    with suppress(AttributeError, OSError, TypeError):
        function: Callable[..., int] = ctypes.CDLL(None).fallocate64
        function.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64  # type: ignore[attr-defined]
        return function
    return None


_fallocate = _find()


def allocate(handle: int, start: int, count: int) -> None:
    """Allocate space; ignore a failure: the write then reports the error."""
    if _fallocate:
        _fallocate(handle, 0, start, count)
