"""Models that are published in a bucket by hand, and depots that adopt them from there."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import httpx2

from app.storage.base import Attempt, Store
from app.storage.manifests import File, Manifest
from app.storage.names import label
from tests.buckets import Place
from tests.depot import CREDENTIALS, Depot

COMMIT = "c" * 40


def settings_for(place: Place) -> dict[str, Any]:
    """Those of a depot whose storage is there."""
    options = place.server.options
    return {
        "storage": place.location,
        "s3_endpoint": options.endpoint,
        "s3_access_key": options.access_key,
        "s3_secret_key": options.secret_key,
    }


class Shelf:
    """A depot on a bucket that holds one model."""

    def __init__(self, depot: Depot, place: Place, name: str, files: Mapping[str, bytes]) -> None:
        self.depot, self.place, self.name, self.files = depot, place, name, files
        self.model_id = publish(place.open(), name, files)
        run(depot, "inventory", "adopt", "--all")

    @property
    def folder(self) -> str:
        """What the keys of the model's files begin with."""
        return f"{self.place.prefix}/models/{self.name}/{self.model_id}/"

    def ask(self, method: str, path: str, **headers: str) -> httpx2.Response:
        sent = CREDENTIALS | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.request(method, self.depot.address(path), headers=sent, timeout=60, verify=False)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.ask("GET", path, **headers)


@contextmanager
def on_a_shelf(
    place: Place, folder: Path, database_url: str, redis_url: str, name: str, files: Mapping[str, bytes]
) -> Iterator[Shelf]:
    """An API, without a worker, on a bucket that holds one model."""
    where: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, "hub_endpoint": "http://127.0.0.1:9"}
    depot = Depot(folder, workers=0, **where, **settings_for(place))
    try:
        yield Shelf(depot, place, name, files)
        assert "Traceback" not in depot.logs()
    finally:
        depot.close()


def name_of(name: str) -> PurePosixPath:
    """The label of a whole repository at its main branch."""
    return label(name, "main", "", patterns=False)


def publish(store: Store, name: str, files: Mapping[str, bytes]) -> UUID:
    """Publish a model of these files. Its id."""
    attempt = Attempt(uuid4(), name_of(name), uuid4(), 1)
    with store.arrival(attempt) as arrival:
        for path, data in files.items():
            arrival.put(path, data)
        arrival.sync()
    store.publish(attempt, manifest_of(attempt.model_id, name, files))
    return attempt.model_id


def manifest_of(model_id: UUID, name: str, files: Mapping[str, bytes]) -> Manifest:
    listed = [File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]
    return Manifest(model_id, name, "main", [], [], COMMIT, listed)


def run(depot: Depot, module: str, *words: str, code: int = 0) -> str:
    """What `modeldepot storage …` prints, by the module of `worker.maintenance` that it becomes."""
    done = subprocess.run(
        [sys.executable, "-m", f"worker.maintenance.{module}", *words],
        env=depot.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout
