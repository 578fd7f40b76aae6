"""The storage of the models. Only this package builds paths in it; the rest is written against `app.storage.base`."""

from importlib import import_module
from pathlib import Path

from app.storage.base import Store
from app.storage.locations import Observe, S3Options, bucket_of, is_bucket
from app.storage.posix import PosixStore


def open_store(
    location: str | Path, *, keep: float = 0.0, s3: S3Options | None = None, observe: Observe | None = None
) -> Store:
    """Return the store at a location, a folder or `s3://bucket/prefix`. Raises `ValueError` for what is neither.

    `keep`: seconds for which what housekeeping removes can be restored.
    """
    if not is_bucket(str(location)):
        return PosixStore(Path(location), keep=keep)
    # botocore takes a quarter of a second of CPU, and memory, which a store in a folder does not need.
    made = import_module("app.storage.s3.store").S3Store
    store: Store = made(bucket_of(str(location)), s3 or S3Options(), keep=keep, observe=observe)
    return store
