"""Attempts at a model of one small file, as workers make them."""

import hashlib
from dataclasses import replace
from pathlib import PurePosixPath
from uuid import uuid4

from app.storage.base import Attempt, Store
from app.storage.manifests import File, Manifest

LABEL = PurePosixPath("acme", "tiny")
CONTENT = b"{}"


def attempt_at() -> Attempt:
    """The first attempt at a new model."""
    return Attempt(uuid4(), LABEL, uuid4(), 1)


def next_attempt(attempt: Attempt) -> Attempt:
    return replace(attempt, fence=attempt.fence + 1)


def repair_of(attempt: Attempt) -> Attempt:
    """The first attempt of another operation at the same model."""
    return replace(attempt, operation_id=uuid4(), fence=1)


def arrive(store: Store, attempt: Attempt, *, mends: bool = False) -> None:
    """The attempt's file is there, verified, and nothing is published."""
    with store.arrival(attempt, mends=mends) as arrival:
        arrival.put("config.json", CONTENT)
        arrival.sync()


def publish(store: Store, attempt: Attempt | None = None) -> Attempt:
    attempt = attempt or attempt_at()
    arrive(store, attempt)
    store.publish(attempt, manifest_of(attempt))
    return attempt


def file_of(path: str, data: bytes = CONTENT) -> File:
    return File(path, len(data), hashlib.sha256(data).hexdigest())


def manifest_of(attempt: Attempt, *files: File) -> Manifest:
    mine = files or (file_of("config.json"),)
    return Manifest(attempt.model_id, "acme/tiny", "main", [], [], "c" * 40, list(mine))
