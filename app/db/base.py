"""The base class of the tables: the columns' types and the constraints' names."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Boolean, Enum, MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase

from app.db.clock import Timestamp
from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.keys import Role
from app.domain.states import DeploymentStatus, ModelStatus, OperationState


def _words(kind: type[StrEnum]) -> Enum:
    """Return the type of a text column of `kind`'s values: adding a value to a native enum type locks the table."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it from the class
        UUID: Uuid(),
        datetime: Timestamp(),
        int: BigInteger(),
        bool: Boolean(),
        list[str]: JSON(),
        ModelStatus: _words(ModelStatus),
        OperationState: _words(OperationState),
        DeploymentStatus: _words(DeploymentStatus),
        Command: _words(Command),
        Reason: _words(Reason),
        Role: _words(Role),
    }
