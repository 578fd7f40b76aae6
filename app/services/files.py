"""The recorded files of models: each verified, with its checksum."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import delete, insert, select

from app.db.session import Reader, Writer
from app.db.tables import FileRow, ModelRow
from app.domain.states import ModelStatus
from app.services.rows import StoredFile

Recorded = tuple[str, int, str] | tuple[str, int, str, str | None]
"""A file as (path, size in bytes, SHA-256 in hexadecimal) and, unless it is in LFS, git's id of the blob."""
_AT_ONCE = 1000
"""Rows or values in one statement."""


async def of(connection: Reader, model_id: UUID) -> Sequence[StoredFile]:
    """Return the recorded files of a model as (path, size, sha256, blob_id), by path."""
    columns: tuple[Any, ...] = (FileRow.path, FileRow.size, FileRow.sha256, FileRow.blob_id)
    query = select(*columns).where(FileRow.model_id == model_id).order_by(FileRow.path)
    return cast("Sequence[StoredFile]", (await connection.execute(query)).all())


async def find_by_checksum(
    connection: Reader, checksums: Sequence[str], *, without: UUID | None = None
) -> Sequence[tuple[str, UUID, str]]:
    """Return (sha256, model id, path) of a ready model's file, not of `without`, for each checksum that has one."""
    found: dict[str, tuple[str, UUID, str]] = {}
    for start in range(0, len(checksums), _AT_ONCE):
        some = checksums[start : start + _AT_ONCE]
        query = select(FileRow.sha256, FileRow.model_id, FileRow.path).join(ModelRow)
        query = query.where(FileRow.sha256.in_(some), ModelRow.status == ModelStatus.READY, ~ModelRow.deleting)
        query = query.where(FileRow.model_id != without) if without else query
        for sha256, model_id, path in (await connection.execute(query)).all():
            found[sha256] = (sha256, model_id, path)
    return list(found.values())


async def record(connection: Writer, model_id: UUID, verified: Sequence[Recorded]) -> None:
    """Replace the recorded files of a model."""
    await connection.execute(delete(FileRow).where(FileRow.model_id == model_id))
    rows = [
        {"model_id": model_id, "path": path, "size": size, "sha256": sha256, "blob_id": git[0] if git else None}
        for path, size, sha256, *git in verified
    ]
    for start in range(0, len(rows), _AT_ONCE):
        await connection.execute(insert(FileRow), rows[start : start + _AT_ONCE])
