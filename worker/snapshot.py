"""Fetching with huggingface_hub's `snapshot_download`, which brings what the Hub offers over Xet."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

import httpx2
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils._xet import abort_xet_session

from worker.hub import Hub
from worker.listing import HubFile
from worker.meter import Meter

_LOOK = 0.2


class Stalled(RuntimeError):
    """Nothing came for too long."""


class Refused(RuntimeError):
    """The Hub or its content store would not go on with this way of fetching."""


def snapshot(
    hub: Hub,
    commit: str,
    files: Sequence[HubFile],
    folder: Path,
    meter: Meter,
    *,
    window: float,
    check: Callable[[], None],
) -> Iterator[tuple[HubFile, Path]]:
    """Yield each of `files` with its path under `folder` as soon as it is there. Nothing is verified but sizes.

    Raises `RuntimeError` for all that goes wrong with the Hub or with Xet (`Stalled` after `window` seconds without a
    byte), `OSError` for the disk, and what `check` does, which is called all the while.
    """
    remaining = {file: folder / file.path for file in files}
    executor = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
    running = executor.submit(
        snapshot_download,
        hub.name,
        revision=commit,
        local_dir=folder,
        token=hub.token,
        endpoint=hub.endpoint,
        allow_patterns=[_literal(file.path) for file in files],
        tqdm_class=_bars(meter),
    )
    try:
        moved, seen = time.monotonic(), meter.value
        while remaining:
            finished = bool(wait([running], _LOOK).done)
            check()
            # A file appears under its name by a rename, once it is whole.
            for file in [file for file, path in remaining.items() if path.is_file()]:
                yield file, remaining.pop(file)
            if finished:
                break
            if meter.value != seen:
                moved, seen = time.monotonic(), meter.value
            elif time.monotonic() - moved > window:
                raise Stalled("nothing came")
        running.result()
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError) as error:
        raise Refused(type(error).__name__) from error
    finally:
        if not running.done():
            abort_xet_session()  # type: ignore[no-untyped-call]
        executor.shutdown(wait=False, cancel_futures=True)


def _literal(path: str) -> str:
    """A pattern for fnmatch that only `path` matches."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _bars(meter: Meter) -> type[Any]:
    """What snapshot_download takes for tqdm: feeds `meter` with the bytes that arrive."""
    lock = threading.RLock()

    class Bar:
        """As much of tqdm's interface as huggingface_hub 2.4 uses. Its own class counts nothing without a terminal."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.iterable = args[0] if args else options.get("iterable")
            self.n = options.get("initial", 0)
            self.total = options.get("total")
            self.desc = options.get("desc") or ""
            self.format_dict: dict[str, Any] = {"rate": None}
            self._counts = options.get("unit") == "B" and self.desc.startswith("Downloading")

        def update(self, count: float | None = 1) -> None:
            with lock:
                self.n += int(count or 0)
                if self._counts:
                    meter.add(int(count or 0), fetched=True)

        def __iter__(self) -> Iterator[Any]:
            return iter(self.iterable or ())

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def _nothing(self, *_: Any, **__: Any) -> None:
            pass

        close = refresh = set_description = set_description_str = set_postfix_str = reset = clear = _nothing

        @classmethod
        def get_lock(cls) -> Any:
            return lock

        @classmethod
        def set_lock(cls, _lock: Any) -> None:
            pass

    return Bar
