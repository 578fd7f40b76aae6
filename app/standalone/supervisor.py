"""`modeldepot up`: keeps the parts of one machine's depot running, and stops them together."""

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import structlog

from app.probe import connection_to
from app.standalone.folder import CannotRun
from app.standalone.redis import CannotServe

_STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
GRACE, REDIS_GRACE = 8.0, 1.0
"""Seconds that API and worker have to stop, and Redis after them; together less than ten, while no file is sent."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a part is started again; the pause doubles each time."""
_HEALTHY = 60.0
"""Seconds of running after which the pause is reset."""
_ANSWER_WITHIN = 60.0
"""Seconds that the API may take to answer for the first time."""
_TRIES = 3
"""How often a part may end before the API's first answer."""

log = structlog.get_logger()


@dataclass(slots=True)
class Part:
    """A child process, in a session of its own so that the terminal's Ctrl-C doesn't reach it."""

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    grace: float = GRACE
    """Seconds that it has to stop."""
    process: subprocess.Popen[bytes] | None = None
    ended: int = 0
    """Number of times."""
    due: float = 0.0
    _started: float = 0.0
    _pause: float = _FIRST_PAUSE

    def tend(self) -> None:
        """Start the process when it is due, and check whether it has ended."""
        now = time.monotonic()
        if self.process and self.process.poll() is not None:
            status, self.process = self._kill(self.process), None
            self._put_off(now, _describe(status))
        if self.process is None and now >= self.due:
            try:
                self._started, self.process = now, self.launch()
            except (OSError, CannotServe) as error:
                self._put_off(now, str(error))
                return
            log.info("started", part=self.name, pid=self.process.pid)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        if self.process:
            self.process.terminate()

    def kill(self) -> None:
        if self.process:
            self._kill(self.process)
            self.process = None

    def _put_off(self, now: float, reason: str) -> None:
        if now - self._started > _HEALTHY:
            self._pause = _FIRST_PAUSE
        log.warning("ended; it is started again", part=self.name, reason=reason, after_seconds=self._pause)
        self.ended += 1
        self.due, self._pause = now + self._pause, min(2 * self._pause, _LONGEST_PAUSE)

    def _kill(self, process: subprocess.Popen[bytes]) -> int:
        """Kill the process and its group, if any of it still runs. Return the exit status."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Keeps `parts`, which stop first, and `base` running. `greet` is called once, when the API `answers`."""

    parts: Sequence[Part]
    base: Sequence[Part]
    answers: Callable[[], bool]
    greet: Callable[[], None]

    def run(self) -> None:
        """Run until a signal asks to stop; everything has ended when it returns. Raises `CannotRun`."""
        with _caught_signals() as caught:
            try:
                self._run(caught)
            finally:
                self._stop(caught)

    def _run(self, caught: socket.socket) -> None:
        begun, greeted, asked = time.monotonic(), False, False
        while not asked:
            for part in (*self.base, *self.parts):
                part.tend()
            if not greeted and self.answers():
                greeted = True
                self.greet()
            if not greeted:
                self._give_up_if_hopeless(begun)
            asked = bool(_STOP_SIGNALS & _wait(caught, self._next_look(greeted=greeted)))

    def _next_look(self, *, greeted: bool) -> float | None:
        """Return the seconds to wait. None while all is well: the end of a part is a signal, too."""
        now = time.monotonic()
        pauses = [max(part.due - now, 0) for part in (*self.base, *self.parts) if part.process is None]
        return min(pauses, default=None) if greeted else 0.1

    def _give_up_if_hopeless(self, begun: float) -> None:
        for part in (*self.base, *self.parts):
            if part.ended >= _TRIES:
                raise CannotRun(f"the {part.name} doesn't start: it ended {part.ended} times; the reason stands above")
        if time.monotonic() - begun > _ANSWER_WITHIN:
            raise CannotRun(f"the api didn't answer within {_ANSWER_WITHIN:.0f} seconds")

    def _stop(self, caught: socket.socket) -> None:
        begun, at_once = time.monotonic(), False
        log.info("stopping; another Ctrl-C stops at once")
        for parts in (self.parts, self.base):
            for part in parts:
                part.terminate()
            asked = time.monotonic()
            # The one with the least time first, so that what hangs is not waited for with what may take longer.
            for part in sorted(parts, key=lambda one: one.grace):
                deadline = asked + part.grace
                while part.is_running and not at_once and time.monotonic() < deadline:
                    again = signal.SIGINT in _wait(caught, max(deadline - time.monotonic(), 0))
                    # `timeout` and `uv run` forward the signal that the terminal sent to all: one request, twice.
                    at_once = again and time.monotonic() - begun > 0.5
                part.kill()
        log.info("stopped", seconds=round(time.monotonic() - begun, 2))


@contextmanager
def launching(*, inherits: Collection[int]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Yield a function that starts Python with the given arguments, as a child that stops when this process ends.

    This process holds the other end of the child's standard input, the lifeline: the child reads an end of file then.
    """
    reader, writer = os.pipe()
    # No imports from the current folder: it may hold another `app`.
    environment = {**os.environ, "DEPOT_LIFELINE": "1", "PYTHONSAFEPATH": "1"}

    def launch(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # all arguments are our own
            [sys.executable, *words],
            stdin=reader,
            env=environment,
            pass_fds=tuple(inherits),
            start_new_session=True,
        )

    try:
        yield launch
    finally:
        os.close(reader)
        os.close(writer)


def answers(host: str, port: int, *, tls: bool = False) -> bool:
    """Return whether an API answers there and is healthy."""
    with closing(connection_to(host, port, timeout=1, tls=tls)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def _describe(status: int) -> str:
    return f"signal {-status}: {signal.strsignal(-status)}" if status < 0 else f"exit code {status}"


@contextmanager
def _caught_signals() -> Iterator[socket.socket]:
    """Yield a socket that becomes readable when a part ends or a stop signal arrives; no polling is needed."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        numbers = {signal.SIGCHLD, *_STOP_SIGNALS}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # Set by nohup.
            numbers.remove(signal.SIGHUP)
        before_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        try:
            yield reader
        finally:
            # The process ends: one more Ctrl-C must not make a failure of that.
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if number in _STOP_SIGNALS else handler)
            signal.set_wakeup_fd(before_fd)


def _wait(caught: socket.socket, seconds: float | None) -> set[int]:
    """Return the numbers of the signals that came in time."""
    readable, _, _ = select.select([caught], [], [], seconds)
    return set(caught.recv(4096)) if readable else set()
