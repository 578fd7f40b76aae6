"""What a program costs: time, processor, memory, context switches."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import IO, Any, Self

from tests.buckets import Place
from tests.faults.bucketed import BucketEngine
from tests.faults.engine import Attempting, Endpoint, Engine
from tests.processes import alive, until
from tests.storage.attempts import LABEL
from worker.download.protocol import Message
from worker.processes import FORK, MESSAGE


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time and of all processes' CPU, MB of the largest process, context switches.

    Linux counts the memory of who started a process as its own: none has less than this program.
    """

    wall: float
    cpu: float
    memory: float
    switches: float


def of_all(costs: Sequence[Cost]) -> Cost:
    """Each figure's median."""
    return Cost(*(median(getattr(cost, field.name) for cost in costs) for field in fields(Cost)))


def of_command(words: Sequence[str], environment: Mapping[str, str]) -> Cost:
    began = time.perf_counter()
    process = subprocess.Popen(words, env=dict(environment), stdout=subprocess.DEVNULL)
    return _ended(process, began)


class _Forked(Attempting):
    """A download's process as a worker has it: forked from one that has imported everything."""

    preload: Sequence[str] = ()

    def __enter__(self) -> Self:
        line, theirs = socket.socketpair()
        self._line = line
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.download.forkserver", *self.preload],
                stdin=theirs.fileno(),
                env=dict(self._environment),
            )
        stdin, stdout = self._fork(0)  # once one ran, all is imported
        stdin.close()
        stdout.read()
        stdout.close()
        self._line.send(MESSAGE.pack(0, signal.SIGKILL))
        self._before = _cpu(self.process.pid)
        self.began = time.perf_counter()
        self._begin(*self._fork(1))
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._line.close()

    def terminate(self) -> None:
        self._line.send(MESSAGE.pack(1, signal.SIGTERM))

    def ended(self, began: float) -> Cost:
        """What it cost, once it has ended by itself."""
        self._stdout.read()  # to its end
        wall = time.perf_counter() - began
        until(self._has_ended, lambda: "the download's process did not end")
        self._line.send(MESSAGE.pack(1, signal.SIGKILL))  # it is forgotten, and counts as its parent's
        self._line.shutdown(socket.SHUT_WR)
        assert isinstance(self.process, subprocess.Popen)
        cost = _ended(self.process, began)
        return Cost(wall, cost.cpu - self._before, cost.memory, cost.switches)

    def _has_ended(self) -> bool:
        """Whether its last thread has ended: only then is what it used its parent's."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return not any(alive(int(child)) or len(list(Path(f"/proc/{child}/task").iterdir())) > 1 for child in children)

    def _fork(self, number: int) -> tuple[IO[bytes], IO[bytes]]:
        (job, stdin), (stdout, answers) = os.pipe(), os.pipe()
        socket.send_fds(self._line, [MESSAGE.pack(number, FORK)], [job, answers])
        os.close(job)
        os.close(answers)
        return os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")


class _ForkedForBucket(_Forked):
    preload = ("app.storage.s3.store",)


def of_upload(hub: Endpoint, name: str, place: Place, **job: Any) -> Cost:
    """The same of a download into a bucket."""
    engine = BucketEngine(hub, place, name, stall_window=30.0, **job)
    engine.attempting = _ForkedForBucket
    with engine.start() as attempt:
        assert isinstance(attempt, _Forked)
        outcome = attempt.outcome()
        assert outcome.done, outcome.messages[-1]
        cost = attempt.ended(attempt.began)
    began = time.perf_counter()
    engine.publish(outcome)
    published = time.perf_counter() - began
    engine.store.discard(engine.model_id, LABEL)
    return Cost(cost.wall + published, cost.cpu, cost.memory, cost.switches)


def of_download(
    hub: Endpoint, name: str, target: Path, until: Callable[[Message], bool] | None = None, **job: Any
) -> Cost:
    """The depot's: from the fork of the download's process to the rename that publishes.

    `until`: from when on the process is asked to stop; then the time is that of the stop alone.
    """
    engine = Engine(hub, target, name, stall_window=30.0, **job)
    engine.attempting = _Forked
    with engine.start() as attempt:
        assert isinstance(attempt, _Forked)
        if until:
            assert not attempt.outcome(until).done, "it was done before it could be stopped: use larger files"
            began = time.perf_counter()
            attempt.terminate()
            return attempt.ended(began)
        outcome = attempt.outcome()
        assert outcome.done, outcome.messages[-1]
        cost = attempt.ended(attempt.began)
    began = time.perf_counter()
    engine.publish()
    return Cost(cost.wall + time.perf_counter() - began, cost.cpu, cost.memory, cost.switches)


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process used so far."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _ended(process: subprocess.Popen[bytes], began: float) -> Cost:
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return _cost(time.perf_counter() - began, used)


def _cost(wall: float, used: resource.struct_rusage) -> Cost:
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, used.ru_nvcsw + used.ru_nivcsw)
