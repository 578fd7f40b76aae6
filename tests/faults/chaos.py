"""A depot under random faults, with a seed. `python -m tests.faults.chaos --seconds 600 --every 2 --database sqlite`.

While creates, retries and deletes go on, its processes are killed, paused and stopped, its Redis loses its data and its
database goes away. Then all is left alone, and what was promised is looked at: see `verdict`.
"""

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Self

from redis import Redis as Client
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from app.db.migrate import upgrade
from tests.depot import Depot
from tests.fakehub.certificates import Certificates
from tests.fakehub.hub import Hub
from tests.faults.traffic import Traffic
from tests.faults.verdict import Folder, Kept, Verdict, judge
from tests.faults.watching import Overlaps, children
from tests.forking import Process
from tests.processes import until
from tests.servers import PostgreSQL, Redis

_LEASE = 3.0
_WORKERS = 3
_LONG = 300.0
"""Seconds from which a run has room for a database that is away for half a minute."""


class Chaos:
    """A depot, and what befalls it. From `with` to the end of it."""

    unit = 1 << 20
    """Bytes by which each repository is larger than the one before."""
    patience = 60.0
    """Seconds after the last fault within which all that was accepted ends."""

    def __init__(self, database: str, seed: int, folder: Path) -> None:
        self._random = random.Random(seed)
        self._kind, self._folder = database, folder
        self._stack = ExitStack()
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._database_away = False
        # Longer than a lease one time in three.
        self._absences = [1.0, 2.0, _LEASE + 2]
        self.counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        certificates = Certificates(self._folder)
        with ExitStack() as stack:
            self.hub = stack.enter_context(Hub(certificates=certificates))
            self.redis = stack.enter_context(Redis())
            self.postgresql = stack.enter_context(PostgreSQL()) if self._kind == "postgresql" else None
            self.file = self._folder / "depot.sqlite3"
            self.url = self.postgresql.migrated() if self.postgresql else f"sqlite:///{self.file}"
            if not self.postgresql:
                upgrade(self.url)
            self.depot = Depot(
                self._folder / "depot",
                database_url=self.url,
                redis_url=self.redis.url,
                hub_endpoint=self.hub.endpoint,
                trust=self.hub.trust,
                workers=_WORKERS,
                slots=2,
                lease=_LEASE,
                log_format="json",
                attempts=10,
                **self._storage(stack),
            )
            stack.callback(self.depot.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _storage(self, stack: ExitStack) -> Mapping[str, Any]:  # noqa: ARG002  # for those that start something
        """The depot's settings of its storage, if it is not a folder of its own."""
        return {}

    def _kept(self) -> Kept:
        """What the depot has in its storage."""
        return Folder(self.depot)

    def run(self, seconds: float, every: float) -> Verdict:
        if seconds >= _LONG:
            self._absences.append(30.0)
        traffic = Traffic(self.hub, self.depot.client, self._random.randrange(1 << 30), self.unit)
        self._stack.callback(traffic.close)
        overlaps = Overlaps(self.depot.storage)
        following = time.monotonic()
        end = following + seconds
        with overlaps, traffic:
            while following < end:
                self._strike()
                # A fault that took its time is made up for.
                following += every
                self._wait(following - time.monotonic())
            self._settle()
        # Every lease that a paused or killed worker held runs out, and every backoff passes.
        traffic.finish(self.patience + _LEASE)
        return judge(self.url, self.depot, self.hub, traffic, self._kept(), overlaps.seen, self.counts)

    def _strike(self) -> None:
        blow = self._random.choice(self._blows())
        name = blow.__name__.strip("_").replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        blow()

    def _blows(self) -> list[Callable[[], None]]:
        blows = [
            self._kill_worker,
            self._kill_worker,
            self._stop_worker,
            self._pause_worker,
            self._pause_worker_and_children,
            self._kill_child,
            self._kill_child,
            self._empty_redis,
            self._kill_redis,
        ]
        if not self._database_away:
            blows += [self._kill_api, self._stop_api, self._take_database_away]
        return blows

    def _kill_worker(self) -> None:
        worker = self._take_worker()
        worker.kill()
        worker.wait()
        self.depot.start_worker()

    def _stop_worker(self) -> None:
        worker = self._take_worker()
        worker.terminate()
        self._until_ended(worker, 10)
        self.depot.start_worker()

    def _pause_worker(self) -> None:
        self._pause([self._random.choice(self.depot.workers).pid])

    def _pause_worker_and_children(self) -> None:
        pid = self._random.choice(self.depot.workers).pid
        self._pause([pid, *children(pid)])

    def _pause(self, pids: list[int]) -> None:
        send_all(pids, signal.SIGSTOP)
        self._later.append((time.monotonic() + _LEASE + 1.5, lambda: send_all(pids, signal.SIGCONT)))

    def _kill_child(self) -> None:
        pids = [pid for worker in self.depot.workers for pid in children(worker.pid)]
        if pids:
            _send(self._random.choice(pids), signal.SIGKILL)

    def _kill_api(self) -> None:
        assert self.depot.api is not None
        self.depot.api.kill()
        self.depot.api.wait()
        self.depot.start_api()

    def _stop_api(self) -> None:
        assert self.depot.api is not None
        api = self.depot.api
        api.terminate()
        self._until_ended(api, 15)
        self.depot.start_api()

    def _kill_redis(self) -> None:
        pid = self.redis.server.pid
        assert pid is not None
        _send(pid, signal.SIGKILL)
        self.redis.server.stop()  # which hears that it is gone
        self._wait(0.5)
        self.redis.server.start()

    def _empty_redis(self) -> None:
        # It may have been killed a moment ago, and still be loading what it had.
        with Client.from_url(self.redis.url, retry=Retry(ExponentialBackoff(cap=1), 20)) as client:
            client.flushall()
        self._kill_redis()

    def _take_database_away(self) -> None:
        """PostgreSQL is stopped; of SQLite's file somebody else has the lock."""
        self._database_away = True
        back = time.monotonic() + self._random.choice(self._absences)
        if self.postgresql:
            self.postgresql.stop()
            self._later.append((back, self._bring_postgresql_back))
            return
        lock = sqlite3.connect(self.file, timeout=10, isolation_level=None)
        with suppress(sqlite3.OperationalError):
            lock.execute("BEGIN IMMEDIATE")

        def give_back() -> None:
            with closing(lock):
                if lock.in_transaction:
                    lock.execute("ROLLBACK")
            self._database_away = False

        self._later.append((back, give_back))

    def _bring_postgresql_back(self) -> None:
        assert self.postgresql is not None
        self.postgresql.start()
        self._database_away = False

    def _take_worker(self) -> Process:
        return self.depot.workers.pop(self._random.randrange(len(self.depot.workers)))

    def _until_ended(self, process: Process, seconds: float) -> None:
        """What was put off happens meanwhile: what is paused holds SQLite's lock, maybe, and is to go on in time."""

        def ended() -> bool:
            self._wait(0)
            return process.poll() is not None

        until(ended, self.depot.logs, seconds)

    def _wait(self, seconds: float) -> None:
        """Let time pass, and what was put off happen in it."""
        end = time.monotonic() + seconds
        while True:
            due = [action for moment, action in self._later if moment <= time.monotonic()]
            self._later = [(moment, action) for moment, action in self._later if action not in due]
            for action in due:
                action()
            if time.monotonic() >= end:
                return
            time.sleep(0.05)

    def _settle(self) -> None:
        """No more faults: all that was put off happens, and what was taken away is back."""
        while self._later:
            self._wait(0.2)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def send_all(pids: list[int], number: int) -> None:
    for pid in pids:
        _send(pid, number)


def run(database: str, *, seconds: float, every: float, seed: int, folder: Path, kind: type[Chaos] = Chaos) -> Verdict:
    with kind(database, seed, folder) as chaos:
        return chaos.run(seconds, every)


def main(kind: type[Chaos] = Chaos) -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {kind.__module__}", description=sys.modules[kind.__module__].__doc__
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--every", type=float, default=2, help="seconds between faults")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    options = parser.parse_args()
    print(
        f"{options.database}, {options.seconds:.0f} s, a fault every {options.every} s, seed {options.seed}", flush=True
    )
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    verdict = run(
        options.database, seconds=options.seconds, every=options.every, seed=options.seed, folder=folder, kind=kind
    )
    print(verdict.summary)
    if verdict.broken:
        sys.exit(f"logs and files are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
