"""What `DEPOT_STORAGE` may name: a folder, or a bucket with a prefix, and how the object store is reached."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Options:
    """How an object store is reached. What is empty, botocore finds out: from the environment, its files, or a role."""

    endpoint: str = ""
    region: str = ""
    addressing: str = "auto"
    """`path`, `virtual`, or `auto`: path for an endpoint that is given."""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)


Observe = Callable[[str, str, float], None]
"""Called after each request to an object store with its operation, its HTTP status (`none` if it got no answer), and the
seconds that it took with its repetitions."""


class Bucket(NamedTuple):
    """A bucket, and what the keys in it begin with: empty, or ending in a slash."""

    name: str
    prefix: str


def is_bucket(location: str) -> bool:
    return location.startswith(SCHEME)


def bucket_of(location: str) -> Bucket:
    """Return what `s3://bucket/prefix` names. Raises `ValueError`."""
    name, _, path = location.removeprefix(SCHEME).partition("/")
    parts = path.strip("/").split("/") if path.strip("/") else []
    if not _BUCKET.fullmatch(name) or not path.isprintable() or {"", ".", ".."} & set(parts):
        raise ValueError("it must be a folder's absolute path, or s3://bucket/prefix")
    return Bucket(name, "".join(f"{part}/" for part in parts))
