"""The files of one manifest in one attempt's folder: found, linked, fetched and verified until all are there."""

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.domain.errors import Failed, Reason
from worker.checksums import verify
from worker.client import Guard
from worker.elsewhere import Elsewhere
from worker.flusher import Flusher
from worker.hub import Hub
from worker.listing import HubFile
from worker.meter import Meter
from worker.parts import Part, key
from worker.snapshot import snapshot
from worker.storage import sync_folder
from worker.transfers import Transfer
from worker.trust import Authorities
from worker.wire import Patience, Wire
from worker.writer import SMALL, Pace, Writer

_HASHERS = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """How files are fetched. `throttle` is called with every count of bytes; `keep` with each verified file."""

    pace: Pace
    patience: Patience
    authorities: Authorities
    guard: Guard
    xet: bool
    throttle: Callable[[int], None]
    keep: Callable[[HubFile, str], None]


class Files:
    """What is wanted of one commit. What is `elsewhere` is linked and not fetched."""

    def __init__(
        self, hub: Hub, commit: str, folder: Path, wanted: Sequence[HubFile], elsewhere: Elsewhere, means: Means
    ) -> None:
        self.meter = Meter()
        self._hub = hub
        self._commit = commit
        self._folder = folder
        self._tree = folder / "tree"
        self._wanted = wanted
        self._elsewhere = elsewhere
        self._means = means
        self._wire: Wire[Transfer] = Wire(hub, commit, means.patience, means.authorities, means.guard)
        self._flusher = Flusher()
        self._remove_strays()
        self._here = [file for file in wanted if self._is_here(file)]
        # Of files with the same content one is fetched, and the others are linked to it.
        here = {key(file) for file in self._here}
        absent = {key(file): file for file in wanted if key(file) not in here}.values()
        self._awaited = [file for file in absent if file.sha256 in elsewhere.awaited]
        self._absent = [file for file in absent if file.sha256 not in elsewhere.awaited]
        self._parts = {file: self._part(file) for file in self._absent if file.size > SMALL}
        self.missing = sum(file.size for file in self._absent) - sum(part.counted for part in self._parts.values())
        """Bytes to fetch."""

    @property
    def awaited(self) -> list[str]:
        """The SHA-256s of what other downloads fetch."""
        return [file.sha256 for file in self._awaited if file.sha256]

    def complete(self) -> None:
        """Until every file is in `tree/`, verified and on disk. Raises what `hub.explain` understands."""
        awaited = sum(file.size for file in self._awaited)
        self.meter.add(sum(file.size for file in self._wanted) - self.missing - awaited)
        hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")
        try:
            verdicts = {file: hashers.submit(self._keep, file) for file in self._here}
            wrong = self._fetch(self._absent, hashers, xet=self._means.xet)
            # Files with the same content may be one file under several names.
            rotten = {key(file): file for file, verdict in verdicts.items() if not verdict.result()}
            self.meter.add(-sum(file.size for file in rotten.values()))
            wrong = self._fetch_again([*wrong, *rotten.values()], hashers)
            if not wrong:
                wrong = self._fetch_again(self._link_awaited(hashers), hashers)
        except BaseException:
            with suppress(OSError):
                self.save()
            raise
        finally:
            hashers.shutdown(wait=False, cancel_futures=True)
        if wrong:
            more = f", and so do {len(wrong) - 1} more" if len(wrong) > 1 else ""
            message = f"{wrong[0].path!r} differs from the Hub's checksum, again after a clean retry{more}."
            raise Failed(Reason.PARTIAL, message)
        self._link_twins()
        self._remove_strays()
        for folder, _, _ in os.walk(self._tree):
            sync_folder(Path(folder))

    def save(self) -> None:
        """Keep all that has arrived for the next attempt: this one is about to end."""
        for part in self._parts.values():
            part.sync()

    def _fetch(self, files: Sequence[HubFile], hashers: ThreadPoolExecutor, *, xet: bool) -> list[HubFile]:
        """Fetch `files`; those that did not come as the manifest says are returned, and nothing of them is kept."""
        if not files:
            return []
        # What an earlier attempt began over plain HTTP goes on from there, and Xet can't.
        over_xet = [file for file in files if xet and file.xet and not self._begun(file)]
        plain = [file for file in files if file not in set(over_xet)]
        with_wire = ThreadPoolExecutor(1, thread_name_prefix="plain")
        try:
            by_wire = with_wire.submit(self._over_wire, plain)
            wrong, left = self._over_xet(over_xet, hashers, by_wire)
            return wrong + by_wire.result() + self._over_wire(left)
        finally:
            with_wire.shutdown(wait=False, cancel_futures=True)

    def _fetch_again(self, wrong: Sequence[HubFile], hashers: ThreadPoolExecutor) -> list[HubFile]:
        self._parts = {file: self._part(file) for file in wrong if file.size > SMALL}
        # Not over Xet: it checks nothing, so what its store has wrong would only come again.
        return self._fetch(wrong, hashers, xet=False)

    def _link_awaited(self, hashers: ThreadPoolExecutor) -> list[HubFile]:
        """Link what other downloads fetched; those that are not as the manifest says are returned."""
        if not self._awaited:
            return []
        self._elsewhere.wait(self.awaited, self.meter.value)
        verdicts = {file: hashers.submit(self._keep, file) for file in self._awaited}
        self.meter.add(sum(file.size for file, verdict in verdicts.items() if verdict.result()))
        return [file for file, verdict in verdicts.items() if not verdict.result()]

    def _over_wire(self, files: Sequence[HubFile]) -> list[HubFile]:
        if not files:
            return []
        writer = Writer(
            self._wire,
            self._tree,
            self.meter,
            self._means.pace,
            throttle=self._means.throttle,
            keep=self._means.keep,
        )
        parts = [self._parts[file] for file in files if file in self._parts]
        return writer.fetch(parts, [file for file in files if file not in self._parts])

    def _over_xet(
        self, files: Sequence[HubFile], hashers: ThreadPoolExecutor, meanwhile: Future[list[HubFile]]
    ) -> tuple[list[HubFile], list[HubFile]]:
        """Fetch over Xet: (files that are wrong, files that did not come and are to be fetched over plain HTTP)."""
        verdicts: dict[HubFile, Future[bool]] = {}
        arrived = Meter(self.meter)

        def check() -> None:
            if meanwhile.done():
                meanwhile.result()

        if files:
            arriving = snapshot(
                self._hub,
                self._commit,
                files,
                self._folder / "hub",
                arrived,
                window=self._means.patience.window,
                check=check,
            )
            try:
                for file, path in arriving:
                    verdicts[file] = hashers.submit(self._accept, file, path)
            except RuntimeError as error:
                log.warning("xet failed: going on over plain HTTP", error=type(error).__name__)
        wrong = [file for file, verdict in verdicts.items() if not verdict.result()]
        self.meter.add(-sum(file.size for file in wrong))
        left = [file for file in files if file not in verdicts]
        if left and not meanwhile.done():
            meanwhile.result()
        if left:
            # What came of them over Xet comes once more.
            self.meter.settle(arrived.value - sum(file.size for file in verdicts))
        return wrong, left

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
        self._means.keep(file, sha256)
        return True

    def _keep(self, file: HubFile) -> bool:
        """Whether what is there already is what the manifest says; if not, it is removed."""
        target = self._tree / file.path
        for source in self._elsewhere.links.get(file.sha256 or "", ()):
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with suppress(OSError):
                    _link(source, target)
        return self._accept(file, target)

    def _link_twins(self) -> None:
        """Put files that have the same content as another one in their places."""
        there = {key(file): file for file in self._wanted if (self._tree / file.path).exists()}
        for file in self._wanted:
            target = self._tree / file.path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self._tree / there[key(file)].path, target)
                if not self._accept(file, target):
                    raise Failed(Reason.FAULT, f"The storage does not keep what is written to it: {file.path!r}.")

    def _part(self, file: HubFile) -> Part:
        return Part(file, self._folder / "parts", self._flusher)

    def _begun(self, file: HubFile) -> bool:
        return file in self._parts and self._parts[file].counted > 0

    def _is_here(self, file: HubFile) -> bool:
        """Whether a file of that size is in the tree, or can be linked there. Nothing is said of what is in it."""
        for path in (self._tree / file.path, *self._elsewhere.links.get(file.sha256 or "", ())):
            with suppress(OSError):
                if path.stat().st_size == file.size:
                    return True
        return False

    def _remove_strays(self) -> None:
        """What an attempt at another commit left, and this one does not want."""
        wanted = {file.path: file.size for file in self._wanted}
        for folder, _, names in os.walk(self._tree, topdown=False):
            for name in names:
                path = Path(folder, name)
                if wanted.get(path.relative_to(self._tree).as_posix()) != path.lstat().st_size:
                    path.unlink()
            if folder != str(self._tree):
                with suppress(OSError):
                    Path(folder).rmdir()  # refused unless it is empty


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
