"""One request: what it asks for, and what the depot has of it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from starlette.requests import Request

from app.depot.pulls import Pulls
from app.domain.keys import UNLIMITED, NameLimit
from app.domain.states import ModelStatus
from app.http.authenticator import Authenticator
from app.http.keyring import Key
from app.hub_api import access
from app.hub_api.entries import Entries
from app.hub_api.errors import Code, HubError
from app.hub_api.metrics import HubMetrics
from app.hub_api.pull_through import PullThrough
from app.hub_api.snapshots import Snapshots
from app.sealing import Sealer
from app.services import published
from app.services.published import Snapshot
from app.services.rows import NamedModel
from app.storage.base import Store

T = TypeVar("T")

_ARRIVING = frozenset({ModelStatus.CREATING, ModelStatus.DOWNLOADING})
_DEFAULTS = frozenset({"", "HEAD"})
"""The revisions that mean the repository's own default."""


@dataclass(frozen=True, slots=True)
class HubApi:
    """The parts of the API process that these routes need.

    `store` has the models' files. All that asks it runs in `threads`, so that a store that hangs holds up nothing else.
    """

    authenticator: Authenticator
    snapshots: Snapshots
    sealer: Sealer
    store: Store
    threads: Executor
    redirects: bool
    """Whether clients get files from the store itself, where it has addresses."""
    pulls: Pulls
    metrics: HubMetrics
    pull_through: PullThrough

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what `work` does with these arguments, in a thread that may wait for the store."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(work, *arguments))


@dataclass(frozen=True, slots=True)
class Call:
    """`name`, `revision`, `path` and `tag` are decoded from the request's path, and empty if it has none."""

    hub: HubApi
    request: Request
    key: Key | None = None
    """The caller's; None for an anonymous one, or before `admitted`."""
    name: str = ""
    revision: str = ""
    path: str = ""
    tag: str = ""

    @property
    def limit(self) -> NameLimit:
        """The models that the caller may read: to it, others do not exist."""
        return self.key.limit if self.key else UNLIMITED

    async def admitted(self) -> "Call":
        """Return the call with its caller's key. Raises `HubError`."""
        return replace(self, key=await access.admit(self.hub.authenticator, self.request))

    async def models(self) -> Sequence[NamedModel]:
        """Return the models of the repository that are not being deleted, oldest first. Raises `HubError`."""
        models = [model for model in await self.hub.snapshots.models(self.name) if self.limit.permits(model.name)]
        names = {model.name for model in models}
        if len(names) > 1:
            raise HubError(f"Which {self.name}? Ask by owner and name: {', '.join(sorted(names))}.", Code.REPO)
        return models

    async def snapshot(self) -> Snapshot:
        """Return what answers for the repository and the revision. Raises `HubError`, which says why nothing does."""
        models = await self.models()
        default = self.revision in _DEFAULTS
        found = published.default(models) if default else published.snapshot(models, self.revision)
        if found is None:
            await self._pull_through(models)
            raise self._absent(models)
        return found

    async def entries(self, snapshot: Snapshot) -> Entries:
        """Return the files of a snapshot. Raises `HubError`."""
        entries = await self.hub.snapshots.entries(snapshot)
        if entries is None:
            raise self._absent(())
        return entries

    async def _pull_through(self, models: Sequence[NamedModel]) -> None:
        """Raise `HubError` once what is asked for is being fetched; do nothing if it is known, or may not be."""
        revision = published.MAIN if self.revision in _DEFAULTS else self.revision
        if any(revision in {model.revision, model.commit} for model in models) or "/" not in self.name:
            return
        if await self.hub.pull_through.begin(self.request, self.key, self.name, revision):
            raise HubError(f"{self.name} is arriving: try again in a minute.", Code.REPO)

    def _absent(self, models: Sequence[NamedModel]) -> HubError:
        """Return the error for a revision that is not ready. Clients show its sentence for these codes only."""
        default = self.revision in _DEFAULTS
        wanted = [model for model in models if default or self.revision in {model.revision, model.commit}]
        name = models[0].name if models else self.name
        option = "" if default or self.revision == published.MAIN else f" --revision {self.revision}"
        if arriving := [model for model in wanted if model.status in _ARRIVING]:
            return HubError(f"{name} is arriving{_share(arriving[-1])}: try again in a minute.", Code.REPO)
        if wanted:
            what = wanted[-1].message or "its files could not be fetched"
            return HubError(f"{name} is not here: {what} Then: modeldepot pull {name}{option}", Code.REPO)
        if kept := published.branches(models):
            message = (
                f"the depot keeps {name} at {', '.join(kept)}, not at {self.revision}: modeldepot pull {name}{option}"
            )
            return HubError(message, Code.REVISION)
        return HubError(f"the depot does not keep {name}: modeldepot pull {name}{option}", Code.REPO)


def _share(model: NamedModel) -> str:
    return f", {100 * (model.downloaded or 0) // model.total} %" if model.total else ""


def entry_not_found(call: Call, snapshot: Snapshot) -> HubError:
    """Return the error for a path that is not there.

    With the commit in a header clients would note for ever that the commit lacks the file, so only a whole one says it.
    """
    more = "" if snapshot.whole else ", which the depot keeps a part of"
    headers = {"X-Repo-Commit": snapshot.commit} if snapshot.whole else {}
    return HubError(f"{call.path or '/'} is not in {snapshot.name}{more}.", Code.ENTRY, headers=headers)


def unavailable(message: str) -> HubError:
    return HubError(message, status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "5"})
