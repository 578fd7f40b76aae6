"""The tables and their constraints.

Deleting a model removes its row; its operations outlive it, so they name it without a foreign key.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    false,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.storable import StorableText
from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.states import DeploymentStatus, ModelStatus, OperationState


class ModelRow(Base):
    """A model, from the accepted create to the end of its delete."""

    __tablename__ = "models"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "status", "created_at", "id"),
        Index(None, "name"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    revision: Mapped[str] = mapped_column(String(250))
    include: Mapped[list[str]]
    exclude: Mapped[list[str]]
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    """Hash of name, revision, include and exclude, unique among the models."""
    status: Mapped[ModelStatus]
    deleting: Mapped[bool]
    """A delete was accepted: no new deployments."""
    commit: Mapped[str | None] = mapped_column(String(64))
    model_size: Mapped[int | None]
    downloaded: Mapped[int | None]
    total: Mapped[int | None]
    files: Mapped[int | None]
    files_verified: Mapped[int | None]
    rate: Mapped[int | None]
    """Bytes per second over the last few seconds, while downloading."""
    path: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[Reason | None]
    message: Mapped[str | None] = mapped_column(StorableText)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    pulls: Mapped[int] = mapped_column(server_default=text("0"))
    """How often it was pulled by name."""
    bytes_sent: Mapped[int] = mapped_column(server_default=text("0"))
    last_pulled_at: Mapped[datetime | None]
    """May be about a minute old."""
    last_pulled_by: Mapped[str | None] = mapped_column(String(200))
    """The name of the key; null for a caller without one."""
    last_pulled_with: Mapped[str | None] = mapped_column(String(100))
    """What the client said that it is."""
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    """Higher goes first: see `OperationRow.place`."""
    paused: Mapped[bool] = mapped_column(server_default=false())
    """Its pending operation is paused. Stored here, too: a poll of a model that reads both rows takes twice as long."""
    follows: Mapped[str | None] = mapped_column(String(250))
    """The branch or tag that its revision, a commit, was at: it is an update of an older model of that."""
    latest: Mapped[str | None] = mapped_column(String(64))
    """The commit that its branch or tag was at on the Hub when that was last looked up."""
    looked_at: Mapped[datetime | None]
    """When that was, whether the Hub told it or not. Null: not since it is ready."""


class FileRow(Base):
    """One file of a model whose files are verified."""

    __tablename__ = "files"
    # A covering index: `contents.total` reads nothing else.
    __table_args__ = (Index(None, "sha256", "model_id", "size"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey(ModelRow.id, ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(String(1024), primary_key=True)
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    blob_id: Mapped[str | None] = mapped_column(String(40))
    """Git's SHA-1 of the blob. Null for a file in LFS, and for any file that an older version recorded."""


class OperationRow(Base):
    """A unit of work. The table is the queue: any worker may claim a row that is pending and due."""

    __tablename__ = "operations"
    __table_args__ = (
        Index(
            "uq_operations_active",
            "resource_id",
            unique=True,
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
        Index(
            "ix_operations_due",
            "due_at",
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
        Index(
            "ix_operations_queue",
            "place",
            "due_at",
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
        Index(
            "ix_operations_leased",
            "resource_id",
            postgresql_where=text("lease_owner IS NOT NULL"),
            sqlite_where=text("lease_owner IS NOT NULL"),
        ),
        Index("ix_operations_ended", "ended_at"),
        Index("ix_operations_history", "resource_id", "created_at"),
        Index("ix_operations_listed", "state", "command", "created_at", "id"),
        CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name="ended"),
        CheckConstraint("state = 'pending' OR sealed_token IS NULL", name="token_wiped"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    command: Mapped[Command]
    resource_id: Mapped[UUID]
    """The model or deployment it works on."""
    resource_name: Mapped[str | None] = mapped_column(StorableText)
    """Kept when the resource is deleted. Null if an older version accepted the operation."""
    model_name: Mapped[str | None] = mapped_column(String(200))
    """The name of a deployment's model; null for other resources, and if an older version accepted the operation."""
    state: Mapped[OperationState]
    reason: Mapped[Reason | None]
    message: Mapped[str | None] = mapped_column(StorableText)
    sealed_token: Mapped[str | None] = mapped_column(Text)
    """The caller's Hub token, sealed; wiped when the operation ends."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """While leased: when the lease expires. Otherwise: when it may be claimed."""
    paused: Mapped[bool] = mapped_column(server_default=false())
    """It is not claimed, and its deadline does not pass. A worker that holds its lease releases it soon."""
    place: Mapped[float] = mapped_column(Float, server_default=text("0"))
    """Its place in the queue: since when it is due, in seconds since 1970, less an hour for each level of priority.

    The lowest of those that are due is claimed first. 0 if an older version accepted the operation.
    """
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    """The worker that holds the lease. After a cancellation it stays until the worker has released the lease."""
    fence: Mapped[int]
    """The number of leases granted: a lease with a lower number is lost."""
    put_backs: Mapped[int] = mapped_column(server_default=text("0"))
    """The number of these that ended in a hand-over, a pause or a wait: the next one is no retry."""
    attempts: Mapped[int]
    """The number of consecutive leases that ended neither in a hand-over nor after progress."""
    reached: Mapped[int]
    """The most bytes that any attempt had: more than that is progress."""
    request_id: Mapped[str | None] = mapped_column(String(128))
    """The id of the request that created the operation, as in the log."""
    leased_at: Mapped[datetime | None]
    """When the last lease was granted."""
    renewed_at: Mapped[datetime | None]
    """When the last lease was granted, last renewed or given up, and `due_at` computed."""
    begun_at: Mapped[datetime | None]
    """When its download first began, but later by all the time since in which no worker held it, as during a pause.

    Null for others, and if an older version began it.
    """
    to_fetch: Mapped[int | None]
    """The bytes that were not here then."""


# A literal, not a parameter: otherwise the query planner can't use the partial indexes.
PENDING = OperationRow.state == literal_column("'pending'")


class FetchRow(Base):
    """A large content that a download fetches or has fetched; others wait for it. Deleted when the operation ends."""

    __tablename__ = "fetches"
    __table_args__ = (Index(None, "operation_id"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    operation_id: Mapped[UUID] = mapped_column(ForeignKey(OperationRow.id, ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(1024))
    """Its path in that operation's model."""
    arrived: Mapped[bool]
    """The content is on the storage, verified."""


class WaitRow(Base):
    """A content that a download needs and another one fetches. Deleted when the operation ends."""

    __tablename__ = "waits"
    __table_args__ = (Index(None, "sha256"),)

    operation_id: Mapped[UUID] = mapped_column(ForeignKey(OperationRow.id, ondelete="CASCADE"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int]


class WorkerRow(Base):
    """A running worker. The row is renewed at each poll, and deleted when the worker stops."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    """As in `OperationRow.lease_owner`."""
    host: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(40))
    slots: Mapped[int]
    look_interval: Mapped[float] = mapped_column(Float)
    """Seconds."""
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class DeploymentRow(Base):
    """A serving system's declaration that it uses a model."""

    __tablename__ = "deployments"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "model_id"),
        Index("uq_deployments_name", "name", unique=True),
        Index(None, "key_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    """At most 250 characters: PostgreSQL indexes no text of more than 2,704 bytes."""
    model_id: Mapped[UUID] = mapped_column(ForeignKey(ModelRow.id))
    status: Mapped[DeploymentStatus]
    gpu_type: Mapped[str | None] = mapped_column(Text)
    gpu_count: Mapped[int | None]
    replicas: Mapped[int | None]
    deployment_url: Mapped[str | None] = mapped_column(Text)
    inference_engine_version: Mapped[str | None] = mapped_column(Text)
    inference_engine_parameters: Mapped[list[str]]
    key_id: Mapped[str | None] = mapped_column(String(64))
    """The key that it pulls the model with."""
    by_pull: Mapped[bool] = mapped_column(server_default=false())
    """A pull declared it, so it expires once it pulls no more."""
    last_seen_at: Mapped[datetime | None]
    """When it last pulled the model; may be about a minute old. Null before the first pull."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CompatibilityRow(Base):
    """Which code works with this database, in one row that migrations write: see alembic/script.py.mako."""

    __tablename__ = "compatibility"

    oldest: Mapped[str] = mapped_column(String(32), primary_key=True)
    """The oldest revision whose code works with it."""


class StorageRow(Base):
    """The storage, in one row."""

    __tablename__ = "storage"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    mark: Mapped[UUID | None]
    """The content of the storage's file `depot/mark`. Null until the first worker has written or found it."""
    tidied_at: Mapped[datetime | None]
    """When a worker last began to look for orphans."""
    complaint: Mapped[str | None] = mapped_column(Text)
    """What that search refused to remove, and what to do."""


class SampleRow(Base):
    """The bytes that all workers fetched in a minute or, of the days before, in an hour; and the storage at its end."""

    __tablename__ = "samples"

    seconds: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """60 or 3,600."""
    at: Mapped[datetime] = mapped_column(primary_key=True)
    """When it began."""
    fetched: Mapped[int]
    best_minute: Mapped[int | None]
    """Bytes fetched in the minute of this hour in which most were. Null for a minute, and if an older version folded it."""
    used: Mapped[int | None]
    free: Mapped[int | None]
    """Bytes; null where the storage tells nobody."""
