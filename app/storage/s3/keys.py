"""The keys of a store in a bucket: the only module that builds them.

    models/<owner>/<name>/<model id>/<path>         a model's files, at these keys from the start
    depot/<model id>.json                           its manifest, which is what publishes it
    depot/mark                                      the store's mark
    depot/arriving/<model id>/attempt.json          which attempt at the model has its files
    depot/arriving/<model id>/<attempt>/<file>.json what is sent of a large file
    depot/trash/<model id>.json                     the manifest of a model that can be restored
    depot/try/<random>                              what `check_abilities` tries

`<owner>/<name>` is the label of the model. Its id is in every key, so that no key is ever used for two models: a delete
that was paused, and goes on later, removes nothing of the model that was made anew meanwhile.
"""

import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID

from app.storage.base import Attempt
from app.storage.names import as_id

_DIGITS = 32


class Place(NamedTuple):
    """What the key of a model's file says."""

    label: PurePosixPath
    model_id: UUID
    path: str


class Keys:
    """The keys that begin with `prefix`, which is empty or ends in a slash."""

    def __init__(self, prefix: str) -> None:
        self.models = f"{prefix}models/"
        self.depot = f"{prefix}depot/"
        self.mark = f"{self.depot}mark"
        self.all_arriving = f"{self.depot}arriving/"
        self.all_trash = f"{self.depot}trash/"
        self.tries = f"{self.depot}try/"

    def folder(self, label: PurePosixPath, model_id: UUID) -> str:
        return f"{self.models}{label}/{model_id}/"

    def manifest(self, model_id: UUID) -> str:
        return f"{self.depot}{model_id}.json"

    def trash(self, model_id: UUID) -> str:
        return f"{self.all_trash}{model_id}.json"

    def arriving(self, model_id: UUID) -> str:
        return f"{self.all_arriving}{model_id}/"

    def arriving_in(self, key: str) -> str:
        """Return the id of the model of whose arrival the key tells."""
        return key.removeprefix(self.all_arriving).partition("/")[0]

    def attempt(self, model_id: UUID) -> str:
        return f"{self.arriving(model_id)}attempt.json"

    def record(self, attempt: Attempt, path: str) -> str:
        name = hashlib.sha256(path.encode()).hexdigest()[:_DIGITS]
        return f"{self.arriving(attempt.model_id)}{attempt.name}/{name}.json"

    def place(self, key: str) -> Place | None:
        """Return what the key of a model's file says; None for another key."""
        owner, _, rest = key.removeprefix(self.models).partition("/")
        name, _, rest = rest.partition("/")
        text, _, path = rest.partition("/")
        model_id = as_id(text)
        return Place(PurePosixPath(owner, name), model_id, path) if model_id and path else None


def id_in(name: str) -> UUID | None:
    """Return the model id of a manifest's key."""
    return as_id(name.rpartition("/")[2].removesuffix(".json"))
