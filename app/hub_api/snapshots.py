"""Finds what answers for a name: the models by one cheap query that concurrent requests share, their files from memory."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from app.batcher import Batcher
from app.db.session import Database, PersistentReader
from app.domain.keys import NameLimit
from app.hub_api.entries import Entries, File
from app.services import files, published
from app.services.published import Snapshot
from app.services.rows import NamedModel

_REMEMBERED = 200_000
"""Files kept in memory, of all models together: at about 500 bytes each."""
_Version = tuple[tuple[UUID, datetime], ...]
"""The models of a snapshot, each with the time of its last change: equal versions hold equal files."""


class Snapshots:
    """Every answer is as new as its request: only files are remembered, and these by their models' versions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = PersistentReader(database)
        self._models: Batcher[str, Sequence[NamedModel]] = Batcher(self._named)
        self._entries: Batcher[_Version, Entries] = Batcher(self._read)
        self._remembered: OrderedDict[_Version, Entries] = OrderedDict()

    async def models(self, name: str) -> Sequence[NamedModel]:
        """Return the models of a repository that are not being deleted, oldest first."""
        return await self._models.get(name) or ()

    async def entries(self, snapshot: Snapshot) -> Entries | None:
        """Return the files of a snapshot; None if one of its models was deleted a moment ago."""
        version = tuple((model.id, model.updated_at) for model in snapshot.models)
        if version in self._remembered:
            self._remembered.move_to_end(version)
            return self._remembered[version]
        return await self._entries.get(version)

    async def ready_names(self, *, search: str, author: str, most: int, limit: NameLimit) -> Sequence[str]:
        async with self._database.read() as connection:
            return await published.ready_names(connection, search=search, author=author, most=most, limit=limit)

    async def close(self) -> None:
        await self._kept.close()

    async def _named(self, names: set[str]) -> Mapping[str, Sequence[NamedModel]]:
        async with self._kept.read() as connection:
            return await published.named(connection, list(names))

    async def _read(self, versions: set[_Version]) -> Mapping[_Version, Entries]:
        found = {}
        async with self._database.read() as connection:
            for version in versions:
                rows = {model_id: await files.of(connection, model_id) for model_id, _ in version}
                # A ready model has files.
                if all(rows.values()):
                    found[version] = Entries(
                        File(model_id, row.path, row.size, row.sha256, row.blob_id)
                        for model_id, its in rows.items()
                        for row in its
                    )
        self._remembered.update(found)
        while len(self._remembered) > 1 and sum(len(one.files) for one in self._remembered.values()) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return found
