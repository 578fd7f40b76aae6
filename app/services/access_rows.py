"""What queries for keys and the audit return, as types: see `app.services.rows`."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.domain.keys import Role
from app.services.rows import Record


class KeyRecord(Record, Protocol):
    """An API key without its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    models: str | None
    auto_deployment: bool


class ListedKey(KeyRecord, Protocol):
    """An API key and whether it may be used: `usable`, `expired` or `revoked`."""

    status: str


class UsableKey(Protocol):
    """A key that is neither revoked nor expired."""

    name: str
    role: Role
    sealed_secret: str
    models: str | None
    auto_deployment: bool


class AuditRecord(Record, Protocol):
    """A requested change and its outcome."""

    id: UUID
    at: datetime
    key_id: str
    key_name: str | None
    action: str
    resource_id: UUID | None
    resource_name: str | None
    other_key_id: str | None
    address: str
    outcome: str
