"""The table of the messages to the receiver of webhooks."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class WebhookRow(Base):
    """What happened to a model, as a message. Written in the transaction in which it happened; outlives the model."""

    __tablename__ = "webhooks"
    __table_args__ = (
        Index(
            "ix_webhooks_due",
            "due_at",
            postgresql_where=text("delivered_at IS NULL"),
            sqlite_where=text("delivered_at IS NULL"),
        ),
        Index(None, "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Sent along: the receiver knows by it what it has got before."""
    event: Mapped[str] = mapped_column(String(40))
    """A value of `app.services.webhooks.Event`."""
    model_id: Mapped[UUID]
    model_name: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    """The JSON that is sent, the same at each attempt."""
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """When the next attempt is due, or the one under way counts as lost."""
    attempts: Mapped[int]
    delivered_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    """Why the last attempt failed. It names no address: that may hold a secret."""
