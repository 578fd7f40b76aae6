"""Forks download processes from one that has imported all they need: `python -m worker.download.forkserver`.

Importing huggingface_hub takes a quarter of a second of CPU, a fork takes some milliseconds. Its arguments are modules
that it imports, too: those of an object store. Standard input is a
socket to the worker, which sends pairs of integers: the number that it gives a download process, and what to do.

    number, FORK      start it; its standard input and output are passed as descriptors
    number, SIGTERM   ask it to end
    number, SIGKILL   end it and forget it

Until it is forgotten, a process keeps its process id even after its end: no other process can get its signals. Requests
do not pass here, so no process sees another's. All end when the worker closes the socket or dies.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys

import structlog

from worker.download import main as download
from worker.download.trust import Authorities
from worker.processes import FORK, MESSAGE

_LOOK = 0.5
"""Seconds between polls of killed processes that have not ended."""

log = structlog.get_logger()


def main() -> None:
    # The terminal's Ctrl-C is for the worker, which stops its download processes itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    authorities = Authorities.of_the_system()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    # Forked processes share this memory until it is written to, which the garbage collector would do.
    gc.collect()
    gc.freeze()
    descriptors = _serve()
    if descriptors:
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        download.run(authorities)


def _serve() -> list[int]:
    """Return a forked process's standard input and output descriptors; in the server, [] once the worker is gone."""
    pids: dict[int, int] = {}
    killed: list[int] = []
    with socket.socket(fileno=0) as worker:
        while True:
            ready, _, _ = select.select([worker], [], [], _LOOK if killed else None)
            # Poll, never block: a process on a hanging disk would delay all others.
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
    """Kill a process unless it has ended; return the ids still to wait for."""
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
