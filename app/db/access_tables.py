"""The tables of who may do what, and who did it. Columns are described where their name does not say it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.storable import StorableText
from app.domain.keys import Role


class KeyRow(Base):
    """An API key. Revoked keys stay, so that the audit's ids can be resolved."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role]
    sealed_secret: Mapped[str] = mapped_column(Text)
    """Sealed rather than hashed: a signature can't be checked without it."""
    models: Mapped[str | None] = mapped_column(Text)
    """The patterns of its `NameLimit`, with spaces between. Null: all models."""
    auto_deployment: Mapped[bool] = mapped_column(server_default=false())
    """Pulling a model with this key declares a deployment of the key's name."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """May be about a minute old."""


class SessionRow(Base):
    """A session of the console. Deleted at sign-out."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "key_id"), Index(None, "expires_at"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The SHA-256 of a random text in the browser's cookie."""
    key_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class AuditRow(Base):
    """A change that a caller requested, and its outcome. The row outlives the key and the resource."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(String(64))
    """`cli:USER@HOST` for a change made in a shell, without a key."""
    key_name: Mapped[str | None] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(40))
    """The API operation's id, such as `create-model`."""
    resource_id: Mapped[UUID | None]
    resource_name: Mapped[str | None] = mapped_column(StorableText)
    """The name of the model, deployment or key concerned, if known."""
    other_key_id: Mapped[str | None] = mapped_column(String(64))
    """The key that was created or revoked."""
    address: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(40))
