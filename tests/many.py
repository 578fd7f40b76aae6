"""Very many rows at once, as no test could ask for one by one."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert

from app.db.access_tables import KeyRow
from app.db.session import Database
from app.db.tables import DeploymentRow, FileRow, ModelRow
from app.domain.keys import Role, new_id
from app.domain.states import DeploymentStatus, ModelStatus

_AT_ONCE = 1000
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


async def add_models(database: Database, number: int, *, name: str = "many/model-{}") -> list[str]:
    """The ids of so many ready models, oldest first. Three in a row are of the same microsecond."""
    rows = [
        {
            "id": uuid4(),
            "name": name.format(one),
            "revision": "main",
            "include": [],
            "exclude": [],
            "fingerprint": name.format(one),
            "status": ModelStatus.READY,
            "deleting": False,
            "commit": "c" * 40,
            "model_size": 1_000_000_000,
            "downloaded": 1_000_000_000,
            "total": 1_000_000_000,
            "files": 3,
            "files_verified": 3,
            "path": f"/models/by-name/{name.format(one)}",
            "created_at": _BEGAN + timedelta(microseconds=one // 3),
            "updated_at": _BEGAN,
        }
        for one in range(number)
    ]
    await _insert(database, ModelRow, rows)
    return [str(row["id"]) for row in sorted(rows, key=lambda row: (row["created_at"], row["id"]))]


async def add_files(database: Database, model_id: str, number: int) -> None:
    """So many of one model."""
    rows = [
        {"model_id": UUID(model_id), "path": f"file-{one:06}", "size": one, "sha256": f"{one:064x}"}
        for one in range(number)
    ]
    await _insert(database, FileRow, rows)


async def add_deployments(database: Database, model_id: str, number: int) -> None:
    """So many of one model."""
    rows = [
        {
            "id": uuid4(),
            "name": f"many-{model_id}-{one}",
            "model_id": UUID(model_id),
            "status": DeploymentStatus.READY,
            "inference_engine_parameters": [],
            "created_at": _BEGAN + timedelta(microseconds=one // 3),
            "updated_at": _BEGAN,
        }
        for one in range(number)
    ]
    await _insert(database, DeploymentRow, rows)


async def add_keys(database: Database, number: int, *, revoked: bool = False) -> list[str]:
    """The ids of so many keys that nobody has the secret of, oldest first."""
    rows = [
        {
            "id": new_id(),
            "name": f"key {one}",
            "role": Role.READER,
            "sealed_secret": "",
            "created_at": _BEGAN + timedelta(seconds=one),
            "revoked_at": _BEGAN + timedelta(days=1) if revoked else None,
        }
        for one in range(number)
    ]
    await _insert(database, KeyRow, rows)
    return [str(row["id"]) for row in rows]


async def _insert(database: Database, table: type, rows: list[dict[str, Any]]) -> None:
    async with database.begin() as connection:
        for start in range(0, len(rows), _AT_ONCE):
            await connection.execute(insert(table), rows[start : start + _AT_ONCE])
