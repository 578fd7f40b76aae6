"""The child process: fetches one model's files, verifies them, and says how far it is. `python -m worker.download`.

It reads one job from standard input and answers with JSON lines:

    resolved  {commit, total, checksums}   what there is to fetch; waits for {links}: where some of it is already
    planned   {missing, free}              bytes to fetch, bytes that can be written; waits for {}: go
    progress  {downloaded, rate}           bytes, bytes per second; twice a second
    verified  {path, size, sha256}         once per file
    done      {}
    failed    {reason, message, again, after}

A process of its own because a download can't be stopped in any other way, whatever it is waiting for.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.domain.errors import DepotError, Failed, Reason, TryAgain
from worker.channel import Channel
from worker.checksums import verify
from worker.hub import Hub, HubFile, explain, set_timeouts
from worker.meter import Meter
from worker.snapshot import snapshot
from worker.storage import Attempt, Storage, check_paths, sync_folder

_TICK = 0.5
_HASHERS = 2


def main() -> None:
    # The terminal's Ctrl-C is for the worker, which decides what becomes of its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_timeouts()
    channel = Channel()
    job = channel.receive()
    hub = Hub(job["endpoint"], job["name"], job.pop("token"))
    try:
        Download(job, hub, channel).run()
    except Exception as error:  # noqa: BLE001  # the one place that turns whatever happened into the contract's words
        _report(error, hub, job["revision"], channel)
    # Threads that still wait for a stalled server must not hold the process up.
    os._exit(0)


def _report(error: Exception, hub: Hub, revision: str, channel: Channel) -> None:
    try:
        known = explain(error, hub, revision)
    except DepotError as bug:
        channel.emit("crashed", message=bug.message)
        raise error from None
    channel.emit(
        "failed",
        reason=known.reason,
        message=known.message,
        again=isinstance(known, TryAgain),
        after=known.after if isinstance(known, TryAgain) else None,
    )


@dataclass(slots=True)
class Download:
    """One attempt at one model."""

    job: dict[str, Any]
    hub: Hub
    channel: Channel

    def run(self) -> None:
        job = self.job
        self.hub.check_access()
        commit, files = self.hub.manifest(job["commit"] or job["revision"], job["include"], job["exclude"])
        check_paths([file.path for file in files])
        total = sum(file.size for file in files)
        checksums = sorted({file.sha256 for file in files if file.sha256})
        self.channel.emit("resolved", commit=commit, total=total, checksums=checksums)
        links: dict[str, str] = self.channel.receive()["links"]
        storage = Storage(Path(job["storage"]))
        attempt = Attempt(UUID(job["model"]), UUID(job["operation"]), job["fence"])
        with storage.alone(attempt.model_id):
            folder = storage.adopt(attempt)
            files_here = Files(self.hub, commit, folder, files, links, self.channel)
            self.channel.emit("planned", missing=files_here.missing(), free=storage.free())
            self.channel.receive()
            with _ticking(files_here.meter, total, self.channel):
                files_here.complete()
            self.channel.emit("progress", downloaded=total, rate=files_here.meter.rate)
        self.channel.emit("done")


class Files:
    """The files of one manifest, in one attempt's folder."""

    def __init__(
        self,
        hub: Hub,
        commit: str,
        folder: Path,
        files: Sequence[HubFile],
        links: dict[str, str],
        channel: Channel,
    ) -> None:
        self.meter = Meter()
        self._hub = hub
        self._commit = commit
        self._folder = folder
        self._tree = folder / "tree"
        self._files = files
        self._links = {checksum: Path(path) for checksum, path in links.items()}
        self._channel = channel
        self._remove_strays()

    def missing(self) -> int:
        """Bytes that are not there yet in any form."""
        return sum(file.size for file in self._files if not self._is_here(file))

    def complete(self) -> None:
        """Until every file is in `tree/`, verified and on disk. Raises what `explain` understands."""
        with ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher") as hashers:
            here = [file for file in self._files if self._is_here(file)]
            absent = [file for file in self._files if file not in set(here)]
            kept = {file: hashers.submit(self._keep, file) for file in here}
            for file in here:
                self.meter.add(file.size)
            wrong = self._fetch(absent, hashers)
            wrong += [file for file, verdict in kept.items() if not verdict.result()]
            for file in wrong:
                self.meter.add(-file.size)
            wrong = self._fetch(wrong, hashers)
        if wrong:
            raise Failed(
                Reason.PARTIAL,
                f"{wrong[0].path!r} does not match the Hub's checksum, again after a clean retry"
                + (f", and so {len(wrong) - 1} more." if len(wrong) > 1 else "."),
            )
        for folder, _, _ in os.walk(self._tree):
            sync_folder(Path(folder))

    def _is_here(self, file: HubFile) -> bool:
        """Whether a file of that size is in the tree, or can be linked there. Nothing is said of what is in it."""
        for path in (self._tree / file.path, self._links.get(file.sha256 or "")):
            if path is not None:
                with suppress(OSError):
                    if path.stat().st_size == file.size:
                        return True
        return False

    def _keep(self, file: HubFile) -> bool:
        """Whether what is there already is what the manifest says; if not, it is removed."""
        target = self._tree / file.path
        source = self._links.get(file.sha256 or "")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() and source is not None:
            with suppress(OSError):
                os.link(source, target)
        return self._accept(file, target)

    def _fetch(self, files: Sequence[HubFile], hashers: ThreadPoolExecutor) -> list[HubFile]:
        """Fetch `files`; those that did not come as the manifest says are returned."""
        if not files:
            return []
        verdicts: dict[HubFile, Future[bool]] = {}
        for file, path in snapshot(self._hub, self._commit, files, self._folder / "hub", self.meter):
            verdicts[file] = hashers.submit(self._accept, file, path)
        return [file for file in files if file not in verdicts or not verdicts[file].result()]

    def _accept(self, file: HubFile, path: Path) -> bool:
        """Move a verified file into the tree and say so; remove one that is not what it should be."""
        sha256 = verify(file, path) if path.is_file() else None
        if sha256 is None:
            path.unlink(missing_ok=True)
            return False
        target = self._tree / file.path
        if path != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        target.chmod(0o444)
        self._channel.emit("verified", path=file.path, size=file.size, sha256=sha256)
        return True

    def _remove_strays(self) -> None:
        """What an attempt at another commit left, and this one does not want."""
        wanted = {file.path for file in self._files}
        for folder, _, names in os.walk(self._tree, topdown=False):
            for name in names:
                path = Path(folder, name)
                if path.relative_to(self._tree).as_posix() not in wanted:
                    path.unlink()
            if folder != str(self._tree):
                with suppress(OSError):
                    Path(folder).rmdir()  # refused unless it is empty


@contextmanager
def _ticking(meter: Meter, total: int, channel: Channel) -> Iterator[None]:
    """Tell how far it is while the block runs."""
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(_TICK):
            meter.sample(time.monotonic())
            channel.emit("progress", downloaded=min(meter.value, total), rate=meter.rate)

    ticker = threading.Thread(target=tick, daemon=True, name="ticker")
    ticker.start()
    try:
        yield
    finally:
        stop.set()
        ticker.join()


if __name__ == "__main__":
    main()
