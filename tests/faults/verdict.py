"""Whether a depot kept its promises under faults."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import text

from app.db.session import Database
from tests import by_hand
from tests.by_hand import plain
from tests.depot import Depot
from tests.fakehub.content import content_of
from tests.fakehub.hub import Hub
from tests.faults.traffic import Traffic

_ENDS = {"model is ready", "model is deleted", "operation failed"}


@dataclass(frozen=True)
class Verdict:
    """`broken` says each promise that was broken, in words."""

    summary: str
    broken: Sequence[str]


class Kept(Protocol):
    """What a depot has in its storage, once it has come to rest."""

    def files(self, model: Mapping[str, Any]) -> dict[str, bytes]:
        """Those of a ready model."""

    def left_over(self, statuses: Mapping[str, str]) -> list[str]:
        """A line for all that is there beside what the models with these statuses, by id, may have, or is not there."""


def judge(
    url: str, depot: Depot, hub: Hub, traffic: Traffic, kept: Kept, overlaps: Sequence[str], faults: Mapping[str, int]
) -> Verdict:
    """Look at everything, once it has come to rest:

    every accepted operation ended; each ended once; no two processes wrote one model at a time; every ready model is
    byte-identical; every deleted one left nothing; no model is stuck; every failure has its reason.
    """
    operations = traffic.accepted.values()
    states = Counter(operation["state"] for operation in operations)
    broken = list(traffic.unexpected) + [f"two at once: {overlap}" for overlap in overlaps]
    broken += [f"lost or stuck: {operation}" for operation in operations if operation["state"] in {"lost", "pending"}]
    nameless = (one for one in operations if one["state"] in {"failure", "timeout"} and not one.get("reason"))
    broken += [f"no reason: {operation}" for operation in nameless]
    twice = _ended_twice(depot)
    broken += [f"ended twice: {operation_id}" for operation_id in twice]
    models = traffic.models()
    broken += [problem for model in models for problem in _wrong(model, traffic, kept)]
    broken += kept.left_over({model["id"]: model["status"] for model in models})
    recovered = by_hand.run(url, _recovered)
    reasons = Counter(operation["reason"] for operation in operations if operation.get("reason"))
    lines = [
        f"operations: {len(traffic.accepted)} ({_told(states)})",
        f"reasons: {_told(reasons)}",
        f"faults: {sum(faults.values())} ({_told(faults)})",
        f"recovered: {recovered}",
        f"lost: {states['lost'] + states['pending']}",
        f"duplicated: {len(twice) + len(overlaps)}",
        f"requests to the Hub: {len(hub.requests)}",
        *(f"BROKEN {problem}" for problem in broken),
    ]
    return Verdict("\n".join(lines), broken)


def _ended_twice(depot: Depot) -> list[str]:
    ended: Counter[str] = Counter()
    for line in depot.logs().splitlines():
        # A killed process may leave half a line.
        if line.startswith("{") and line.endswith("}"):
            event: dict[str, Any] = json.loads(line)
            if event.get("event") in _ENDS:
                ended[event["operation-id"]] += 1
    return [operation_id for operation_id, count in ended.items() if count > 1]


def _wrong(model: dict[str, Any], traffic: Traffic, kept: Kept) -> list[str]:
    if model["status"] == "error":
        return [] if model.get("reason") and model.get("message") else [f"no reason: {model}"]
    if model["status"] != "ready":
        return [f"stuck: {model}"]
    wanted = {path: content_of(content).read() for path, content in traffic.files[model["name"]].items()}
    return [] if kept.files(model) == wanted else [f"not what the Hub has: {model}"]


class Folder:
    """A depot's own folder."""

    def __init__(self, depot: Depot) -> None:
        self._folder = depot.storage

    def files(self, model: Mapping[str, Any]) -> dict[str, bytes]:
        folder = Path(model["path"])
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def left_over(self, statuses: Mapping[str, str]) -> list[str]:
        ready = {model_id for model_id, status in statuses.items() if status == "ready"}
        published = {path.name for path in (self._folder / "models").iterdir()}
        linked = {path.resolve().name for path in (self._folder / "by-name").glob("*/*")}
        incoming = {
            path.name.partition(".")[0] for name in ("incoming", "verified") for path in (self._folder / name).iterdir()
        }
        trash = {path.name.partition(".")[0] for path in (self._folder / "trash").iterdir()}
        return [
            *(f"files of no ready model: {name}" for name in published - ready),
            *(f"no files of a ready model: {name}" for name in ready - published),
            *(f"a link to no ready model: {name}" for name in linked - ready),
            *(f"incoming files of no model in error: {name}" for name in incoming - (set(statuses) - ready)),
            *(f"remains of a deleted model: {name}" for name in trash - set(statuses)),
        ]


async def _recovered(database: Database) -> int:
    """How many operations ended in success after more than one worker had them."""
    async with database.read() as connection:
        query = text("SELECT count(*) FROM operations WHERE state = 'success' AND fence > 1")
        count: int = (await plain(connection).execute(query)).scalar_one()
    return count


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
