"""What goes on beside a test."""

import threading
from collections.abc import Callable
from typing import Self


class Background:
    """A thread that does `work` from `with` to the end of it; `work` returns soon after `_stop` is set."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=work, name=type(self).__name__.lower())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
