"""Forks the processes of downloads off one that has imported all they need: `python -m worker.download.forkserver`.

Importing huggingface_hub takes a quarter of a second of a processor, a fork takes some milliseconds. Standard input is a
socket to the worker, which sends pairs of integers: the number that it gives a child, and what to do.

    number, FORK      start it; its standard input and output come along as descriptors
    number, SIGTERM   ask it to end
    number, SIGKILL   end it and forget it

Until it is forgotten a child keeps its process id, also when it has ended: no other process can get its signals. No job
comes this way, so no child knows of another's. All ends when the worker closes the socket or dies.
"""

import gc
import os
import select
import signal
import socket

import structlog

from worker.download import main as download
from worker.download.trust import Authorities
from worker.processes import FORK, MESSAGE

_LOOK = 0.5
"""Seconds between looks at what was killed and has not ended."""

log = structlog.get_logger()


def main() -> None:
    # The terminal's Ctrl-C is for the worker, which decides what becomes of its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    authorities = Authorities.of_the_system()
    # The children share this memory as long as nobody writes to it, and the collector would.
    gc.collect()
    gc.freeze()
    descriptors = _serve()
    if descriptors:
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        download.run(authorities)


def _serve() -> list[int]:
    """In a child the descriptors of its standard input and output; otherwise, when the worker is gone, nothing."""
    pids: dict[int, int] = {}
    killed: list[int] = []
    with socket.socket(fileno=0) as worker:
        while True:
            ready, _, _ = select.select([worker], [], [], _LOOK if killed else None)
            # Never waited for: one that waits for a disk that hangs would hold up all others.
            killed = [pid for pid in killed if not os.waitpid(pid, os.WNOHANG)[0]]
            if not ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(worker, MESSAGE.size, 2)
            if not data:
                return []
            number, task = MESSAGE.unpack(data)
            if task == FORK:
                pids[number] = os.fork()
                if not pids[number]:
                    return descriptors
                for descriptor in descriptors:
                    os.close(descriptor)
            elif task == signal.SIGKILL:
                killed += _killed(pids.pop(number))
            else:
                os.kill(pids[number], task)


def _killed(pid: int) -> list[int]:
    """What is left to wait for."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        return [pid]
    code = os.waitstatus_to_exitcode(status)
    if code not in {0, -signal.SIGTERM}:
        log.warning("a download's process ended unexpectedly", exit_code=code)
    return []


if __name__ == "__main__":
    main()
