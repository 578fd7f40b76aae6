"""The download process's end of its pipe to the worker: messages in both directions, and the watchdog.

Every incoming line, even an empty one, means that the worker still holds its lease. If none arrives for 0.9 of the
lease's duration, or the pipe is closed because the worker died, the process ends at once: the lease protects rows,
only this protects files.
"""

import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from worker.download.protocol import Bandwidth, Message, PassOn, Request, decode, encode

_OF_A_LEASE = 0.9

T = TypeVar("T", bound=Message)


class Channel:
    """Messages over standard input and output. Create it before anything else writes to standard output."""

    def __init__(self) -> None:
        self._out = os.dup(sys.stdout.fileno())
        # A library's output must not mix with the messages.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.bandwidth = 0
        """Bytes per second that this process may use now; 0 for no limit."""
        self._pass_on: Callable[[Sequence[str]], None] | None = None
        self._silence = 0.0
        threading.Thread(target=self._listen, daemon=True, name="watchdog").start()

    def receive(self, kind: type[T]) -> T:
        """Wait for the next message. The first one is the request, whose `lease` starts the watchdog."""
        message = self._inbox.get()
        assert isinstance(message, kind), message  # noqa: S101  # the protocol says so
        return message

    def send(self, message: Message) -> None:
        with self._lock:
            view = memoryview(encode(message))
            while view:
                view = view[os.write(self._out, view) :]

    def on_pass_on(self, call: Callable[[Sequence[str]], None]) -> None:
        """Call `call` from now on, in a separate thread, with SHA-256s of contents that other downloads wait for."""
        self._pass_on = call

    def _listen(self) -> None:
        source, pending = sys.stdin.fileno(), b""
        heard = time.monotonic()
        while True:
            ready, _, _ = select.select([source], [], [], 0.5 if self._silence else None)
            if ready:
                data = os.read(source, 1 << 16)
                if not data:
                    os._exit(0)
                heard = time.monotonic()
                *lines, pending = (pending + data).split(b"\n")
                for message in map(decode, filter(None, lines)):
                    self._take(message)
            if self._silence and time.monotonic() - heard > self._silence:
                os._exit(0)

    def _take(self, message: Message) -> None:
        match message:
            case Bandwidth():
                self.bandwidth = message.limit
            case PassOn():
                if self._pass_on:  # not in this thread, which must never block
                    threading.Thread(target=self._pass_on, args=(message.checksums,), daemon=True).start()
            case _:
                if isinstance(message, Request):
                    self._silence = message.lease * _OF_A_LEASE
                self._inbox.put(message)
