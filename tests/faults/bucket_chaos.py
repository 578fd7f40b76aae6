"""The chaos of a depot whose models are in a bucket: its object store is killed, away, busy, and refuses, too.

`python -m tests.faults.bucket_chaos --seconds 600 --every 2`.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from tests.buckets import Place, Versity
from tests.faults.at_points import settings_behind, tidied
from tests.faults.bucketed import keys
from tests.faults.chaos import Chaos, main, send_all
from tests.faults.storefront import Storefront, Trouble
from tests.processes import family

_OPERATIONS = ("put", "begin", "part", "complete", "abort", "parts", "head", "get", "delete", "list")
_ANSWERS = ((503, "SlowDown"), (503, "SlowDown"), (500, "InternalError"), (403, "ExpiredToken"))
_AWAY = 2.0
"""Seconds."""


class BucketChaos(Chaos):
    """A depot on a bucket of versitygw."""

    unit = 3 << 20  # so that most are uploaded in parts
    patience = 150.0  # with the waits for a store that was away

    def _storage(self, stack: ExitStack) -> Mapping[str, Any]:
        self._store = stack.enter_context(Versity())
        self._place = self._store.place()
        self._front = stack.enter_context(Storefront(self._store.port))
        return {name: value for name, value in settings_behind(self._front, self._place).items() if name != "lease"}

    def _kept(self) -> "Bucket":
        return Bucket(self.url, self._place)

    def _blows(self) -> list[Callable[[], None]]:
        own = [self._kill_store, self._take_store_away, self._trouble_store, self._break_store, self._kill_machine]
        return [*super()._blows(), *own, self._trouble_store, self._break_store]

    def _kill_machine(self) -> None:
        """A worker with all its processes, none of which can say another word."""
        worker = self._take_worker()
        send_all(family(worker.pid), signal.SIGKILL)
        worker.wait()
        self.depot.start_worker()

    def _kill_store(self) -> None:
        self._store.stop()
        self._wait(self._random.uniform(0, _AWAY))
        self._store.start()

    def _take_store_away(self) -> None:
        self._front.is_down = True
        self._wait(self._random.uniform(0, _AWAY))
        self._front.is_down = False

    def _trouble_store(self) -> None:
        """It answers some requests by an error."""
        status, code = self._random.choice(_ANSWERS)
        self._misbehave("status", status=status, code=code)

    def _break_store(self) -> None:
        """Connections break before or after a request is carried out."""
        self._misbehave(self._random.choice(["reset", "lose", "lose"]))

    def _misbehave(self, kind: Any, **more: Any) -> None:
        self._front.behave()
        times, operation = self._random.randrange(1, 8), self._random.choice(_OPERATIONS)
        self._front.misbehave(Trouble(operation, kind, times=times, **more))  # type: ignore[arg-type]

    def _settle(self) -> None:
        super()._settle()
        self._front.behave()


class Bucket:
    """The part of a bucket that is a depot's."""

    def __init__(self, url: str, place: Place) -> None:
        self._url, self._place = url, place

    def files(self, model: Mapping[str, Any]) -> dict[str, bytes]:
        start = f"{model['path'].removeprefix(self._place.location)}/".lstrip("/")
        prefix = f"{self._place.prefix}/"
        return {key.removeprefix(start): self._place.objects.get(prefix + key) for key in keys(self._place, start)}

    def left_over(self, statuses: Mapping[str, str]) -> list[str]:
        """After the round of a worker that finds what processes wrote that woke up too late."""
        asyncio.run(tidied(self._url, self._place))
        store = self._place.open()
        ready = {model_id for model_id, status in statuses.items() if status == "ready"}
        published, arriving = ({str(one) for one in ids} for ids in (store.published_ids(), store.arriving_ids()))
        uploads = [each[:2] for each in self._place.objects.uploads(f"{self._place.prefix}/models/")]
        return [
            *(f"a manifest of no ready model: {name}" for name in published - set(statuses)),
            *(f"no manifest of a ready model: {name}" for name in ready - published),
            *(f"files of no model: {key}" for key in keys(self._place, "models/") if key.split("/")[3] not in statuses),
            *(f"incoming files of no model in error: {name}" for name in arriving - (set(statuses) - ready)),
            *(f"in the trash: {one.model_id}" for one in store.removed()),
            *(f"a lost upload with bytes: {one}" for one in uploads if self._is_lost(*one, arriving)),
        ]

    def _is_lost(self, key: str, upload: str, arriving: set[str]) -> bool:
        return bool(self._place.objects.parts(key, upload)) and not any(name in key for name in arriving)


if __name__ == "__main__":
    main(BucketChaos)
