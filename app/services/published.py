"""Which models answer for a repository's name, and for a revision of it."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

from sqlalchemy import bindparam, or_, select

from app.db.session import Reader
from app.db.tables import ModelRow
from app.domain.keys import NameLimit
from app.domain.states import ModelStatus
from app.services.limits import within
from app.services.models import BRANCH, OLDEST_FIRST, SELECTED
from app.services.rows import NamedModel

MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_COMBINED = 8
"""Selections of one commit of which every union has a commit: 255 of them. Of more, only all together and each alone."""
_COLUMNS = (
    *(column for column in SELECTED if column is not ModelRow.revision),
    BRANCH.label("revision"),
    ModelRow.downloaded,
    ModelRow.total,
    ModelRow.reason,
    ModelRow.message,
    ModelRow.created_at,
    ModelRow.updated_at,
)
_KEPT = select(*_COLUMNS).where(~ModelRow.deleting).order_by(*OLDEST_FIRST)
# Built once: SQLAlchemy neither hashes nor adapts the same statement object again.
_NAMED = _KEPT.where(ModelRow.name.in_(bindparam("names", expanding=True)))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The models that answer as one for a revision. `commit` is what clients know the answer by.

    A part of a repository has a commit of its own: clients keep what they learn of a commit for ever, so what they are
    told of the Hub's own commit must be all there is.
    """

    models: tuple[NamedModel, ...]
    commit: str
    whole: bool

    @property
    def name(self) -> str:
        return self.models[0].name

    @property
    def true_commit(self) -> str:
        """The commit on the Hub."""
        return str(self.models[0].commit)


async def named(connection: Reader, names: Sequence[str]) -> dict[str, list[NamedModel]]:
    """Return the models of each name that are not being deleted, oldest first. A name without owner fits any owner."""
    found: dict[str, list[NamedModel]] = {name: [] for name in names}
    if full := [name for name in names if "/" in name]:
        for row in (await connection.execute(_NAMED, {"names": full})).all():
            found[row.name].append(cast("NamedModel", row))
    if bare := [name for name in names if "/" not in name]:
        ends = or_(*(ModelRow.name.endswith(f"/{name}", autoescape=True) for name in bare))
        for row in (await connection.execute(_KEPT.where(ends))).all():
            # SQLite's LIKE takes upper and lower case for the same.
            if (name := row.name.partition("/")[2]) in found:
                found[name].append(cast("NamedModel", row))
    return found


async def ready_names(connection: Reader, *, search: str, author: str, most: int, limit: NameLimit) -> Sequence[str]:
    """Return at most `most` names of ready models within the limit, in order: of that owner, and with `search` in it, if given."""
    query = select(ModelRow.name).where(ModelRow.status == ModelStatus.READY, ~ModelRow.deleting)
    query = query.where(*within(limit, ModelRow.name))
    if search:
        query = query.where(ModelRow.name.icontains(search, autoescape=True))
    if author:
        query = query.where(ModelRow.name.istartswith(f"{author}/", autoescape=True))
    return (await connection.execute(query.distinct().order_by(ModelRow.name).limit(most))).scalars().all()


def snapshot(models: Sequence[NamedModel], revision: str) -> Snapshot | None:
    """Return the answer for a revision of one repository: as it was asked for, a commit on the Hub, or one of ours."""
    ready = [model for model in models if model.status == ModelStatus.READY and model.commit]
    if asked := [model for model in ready if revision in {model.revision, model.commit}]:
        return _together(asked)
    if not COMMIT.fullmatch(revision):
        return None
    return next((made for made in _parts(ready) if made.commit == revision), None)


def default(models: Sequence[NamedModel]) -> Snapshot | None:
    """Return the answer for a request that names no revision: main or, without it, the revision that is kept longest."""
    ready = [model for model in models if model.status == ModelStatus.READY]
    return snapshot(ready, MAIN) or (snapshot(ready, ready[0].revision) if ready else None)


def branches(models: Sequence[NamedModel]) -> Mapping[str, Snapshot]:
    """Return the answer for each revision that was asked for, main first."""
    revisions = dict.fromkeys(model.revision for model in models if model.status == ModelStatus.READY)
    found = {revision: snapshot(models, revision) for revision in sorted(revisions, key=lambda one: one != MAIN)}
    return {revision: one for revision, one in found.items() if one}


def _together(models: Sequence[NamedModel]) -> Snapshot:
    """Return the whole repository if one of `models` is it; otherwise the union of the parts of the newest's commit."""
    whole = [model for model in models if not (model.include or model.exclude)]
    if whole:
        return Snapshot((whole[-1],), str(whole[-1].commit), whole=True)
    return _union([model for model in models if model.commit == models[-1].commit])


def _parts(models: Sequence[NamedModel]) -> Iterator[Snapshot]:
    """Yield every union of parts that answers, answered, or would answer without some of them.

    A client that has begun with one goes on with it, although another part has arrived since.
    """
    by_commit = defaultdict(list)
    for model in models:
        if model.include or model.exclude:
            by_commit[model.commit].append(model)
    for parts in by_commit.values():
        numbers = range(1, len(parts) + 1) if len(parts) <= _MOST_COMBINED else (1, len(parts))
        for number in numbers:
            for some in combinations(parts, number):
                yield _union(some)


def _union(parts: Sequence[NamedModel]) -> Snapshot:
    words = [str(parts[0].commit), *sorted(model.fingerprint for model in parts)]
    return Snapshot(tuple(parts), hashlib.sha1("".join(words).encode(), usedforsecurity=False).hexdigest(), whole=False)
