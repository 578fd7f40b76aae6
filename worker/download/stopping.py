"""How a download ends when its worker asks it to."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress


def save_and_exit_on_sigterm(save: Callable[[], None]) -> None:
    """Have SIGTERM call `save` in a thread of its own, then end the process. Call it in the main thread.

    Python calls a signal's handler in the main thread only. That may hold a lock which saving needs, or be about to wait
    for a server that is silent: a signal in that moment would not wake it. So it is told through a pipe.
    """
    asked, ask = os.pipe()
    os.set_blocking(ask, False)
    threading.Thread(target=_await, args=(asked, save), daemon=True, name="stop").start()
    signal.set_wakeup_fd(ask, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)  # without a handler of Python's, nothing would be written


def _await(asked: int, save: Callable[[], None]) -> None:
    while os.read(asked, 1) != bytes([signal.SIGTERM]):
        pass
    try:
        with suppress(OSError):
            save()
    finally:
        os._exit(0)
