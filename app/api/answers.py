"""Answers as bytes: validated and serialized by pydantic in one step each, without a Python object per value."""

from collections.abc import Sequence
from typing import Any

from fastapi.responses import Response
from pydantic import TypeAdapter

from app.api.schemas import OPERATION, operation
from app.services.rows import OperationRecord, Record


def json_answer(shape: TypeAdapter[Any], value: object) -> Response:
    return json_bytes(body(shape, value))


def json_bytes(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def body(shape: TypeAdapter[Any], value: object) -> bytes:
    """Return `value` (a `plain` row, or a dictionary of lists of them) as JSON in `shape`."""
    return shape.dump_json(shape.validate_python(value), by_alias=True)


def plain(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Return rows as dictionaries: on a row, the lookup of an attribute that it doesn't have is slow."""
    fields = rows[0]._fields if rows else ()
    return [dict(zip(fields, row, strict=True)) for row in rows]


def operation_answer(row: OperationRecord) -> Response:
    return json_bytes(operation_body(row))


def operation_body(row: OperationRecord) -> bytes:
    return OPERATION.dump_json(operation(row), by_alias=True, exclude_none=True)
