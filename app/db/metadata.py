"""All tables, for migrations."""

from app.db import access_tables, tables, webhook_tables
from app.db.base import Base

__all__ = ["METADATA", "access_tables", "tables", "webhook_tables"]

METADATA = Base.metadata
