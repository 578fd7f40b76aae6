"""What a program costs: time, processor, memory, context switches."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from tests.faults.engine import Endpoint, Engine
from worker.download.protocol import Message


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


def of_download(
    hub: Endpoint, name: str, target: Path, until: Callable[[Message], bool] | None = None, **job: Any
) -> Cost:
    """The depot's: from the start of the download's process to the rename that publishes.

    `until`: from when on the process is asked to stop; then the time is that of the stop alone.
    """
    engine, began = Engine(hub, target, name, stall_window=30.0, **job), time.perf_counter()
    with engine.start() as attempt:
        if until:
            assert not attempt.outcome(until).done, "it was done before it could be stopped: use larger files"
            began = time.perf_counter()
            attempt.process.terminate()
            return _ended(attempt.process, began)
        outcome = attempt.outcome()
        assert outcome.done, outcome.messages[-1]
        cost = _ended(attempt.process, began)
    engine.publish()
    return Cost(time.perf_counter() - began, cost.cpu, cost.memory, cost.switches)


def _ended(process: subprocess.Popen[bytes], began: float) -> Cost:
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return _cost(time.perf_counter() - began, used)


def _cost(wall: float, used: resource.struct_rusage) -> Cost:
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, used.ru_nvcsw + used.ru_nivcsw)
