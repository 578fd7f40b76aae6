"""What can be seen of a depot's processes from outside, in /proc."""

from contextlib import suppress
from itertools import combinations
from pathlib import Path

from tests.faults.background import Background
from tests.forking import DOWNLOADS
from tests.processes import family, parent_of, said

_PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """The download processes that a worker has, without what forks them."""
    return [child for child in family(pid)[1:] if forked(child) and forked(parent_of(child))]


def writers(storage: Path) -> dict[str, set[int]]:
    """For each model, the processes that hold one of its incoming files open."""
    incoming = f"{storage / 'incoming'}/"
    found: dict[str, set[int]] = {}
    for process in _PROC.glob("[0-9]*"):
        if not forked(int(process.name)):
            continue
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                with suppress(OSError):
                    target = str(handle.readlink())
                    model, _, file = target.removeprefix(incoming).partition("/")
                    if target.startswith(incoming) and file:
                        found.setdefault(model, set()).add(int(process.name))
    return found


def forked(pid: int) -> bool:
    """Whether it is a download's process, or what forks them."""
    return "worker.download.forkserver" in said(pid, "cmdline") or said(pid, "comm").strip() == DOWNLOADS


class Overlaps(Background):
    """Watches a storage, from `with` to the end of it, for two processes that have one model's files open at once."""

    def __init__(self, storage: Path) -> None:
        self.seen: list[str] = []
        self._storage = storage
        super().__init__(self._watch)

    def _watch(self) -> None:
        before: set[tuple[str, int, int]] = set()
        while not self._stop.wait(0.1):
            found = writers(self._storage)
            pairs = {
                (model, first, second)
                for model, pids in found.items()
                for first, second in combinations(sorted(pids), 2)
            }
            # One look at /proc is no snapshot: whoever is seen twice was there all the time between.
            self.seen += [f"{model}: {first} and {second}" for model, first, second in pairs & before]
            before = pairs
