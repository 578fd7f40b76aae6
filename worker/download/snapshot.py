"""Fetches with huggingface_hub's `snapshot_download`: slower, but the first to support changes of the Hub."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

from huggingface_hub import constants, snapshot_download

from app.domain.errors import Reason, TryAgain
from worker.download.hub import Hub
from worker.download.listing import HubFile
from worker.download.transfers import Sink

_LOOK = 0.2


def snapshot(
    hub: Hub, commit: str, files: Sequence[HubFile], folder: Path, sink: Sink, *, window: float, xet: bool
) -> Iterator[tuple[HubFile, Path]]:
    """Yield each of `files` with its path under `folder` as soon as it is there. Only sizes are verified.

    Raises errors that `explain` translates, and `TryAgain` after `window` seconds without a byte.
    """
    # It fetches no larger files over plain HTTP. It reads this constant for every file.
    constants.HF_HUB_DISABLE_XET = not xet and max(file.size for file in files) <= constants.MAX_HTTP_DOWNLOAD_SIZE
    remaining = {file: folder / file.path for file in files}
    executor = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
    running = executor.submit(
        snapshot_download,
        hub.name,
        revision=commit,
        local_dir=folder,
        token=hub.token,
        endpoint=hub.endpoint,
        library_name="modeldepot",
        allow_patterns=[_literal(file.path) for file in files],
        tqdm_class=_bars(sink),
    )
    moved, seen = time.monotonic(), -1
    try:
        while remaining:
            finished = bool(wait([running], _LOOK).done)
            # A file appears under its name by a rename, once it is whole.
            for file in [file for file, path in remaining.items() if path.is_file()]:
                yield file, remaining.pop(file)
            if finished:
                break
            if sink.meter.fetched != seen:
                moved, seen = time.monotonic(), sink.meter.fetched
            elif time.monotonic() - moved > window:
                raise TryAgain(Reason.UNAVAILABLE, f"The Hub at {hub.endpoint} sends nothing.")
        running.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _literal(path: str) -> str:
    """Return an fnmatch pattern that matches only `path`."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _bars(sink: Sink) -> type[Any]:
    """Return a substitute for tqdm that reports arriving bytes to `sink`."""
    lock = threading.RLock()

    class Bar(_Bar):
        def update(self, count: float | None = 1) -> None:
            with lock:
                self.n += int(count or 0)
            if self.counts and count:
                sink.meter.add(int(count), fetched=True)
                sink.throttle(int(count))

        @classmethod
        def get_lock(cls) -> Any:
            return lock

    return Bar


class _Bar:
    """The part of tqdm that huggingface_hub 2.4 uses. Its own class counts nothing without a terminal."""

    def __init__(self, iterable: Any = (), **options: Any) -> None:
        self.iterable = iterable
        self.n = options.get("initial", 0)
        self.total = options.get("total")
        self.desc = options.get("desc") or ""
        self.format_dict: dict[str, Any] = {"rate": None}
        self.counts = options.get("unit") == "B" and self.desc.startswith("Downloading")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.iterable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    close = refresh = set_description = set_description_str = set_postfix_str = reset = clear = _nothing

    @classmethod
    def set_lock(cls, _lock: Any) -> None:
        pass
