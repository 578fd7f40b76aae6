"""Answers as bytes: validated and written by pydantic in one step each, without a Python object per value."""

from typing import Any

from fastapi.responses import Response
from pydantic import TypeAdapter
from sqlalchemy import Row

from app.api.schemas import OPERATION, operation


def json_answer(shape: TypeAdapter[Any], value: object) -> Response:
    """`value` (a row, or a dictionary of rows) in `shape`."""
    body = shape.dump_json(shape.validate_python(value), by_alias=True)
    return Response(body, media_type="application/json")


def operation_answer(row: Row[Any]) -> Response:
    body = OPERATION.dump_json(operation(row), by_alias=True, exclude_none=True)
    return Response(body, media_type="application/json")
