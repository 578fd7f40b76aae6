"""The kinds of single values on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)

_MOST_GPUS = 1_000_000
_MOST_LEVELS = 100


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it may not hold control characters")
    return text


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_printable)]
# A moment without a fraction is written as 2026-01-31T12:00:00Z, and faster than by `strftime`.
Time = Annotated[datetime, PlainSerializer(lambda time: time.replace(microsecond=0), return_type=datetime)]
# Only what an HTTP header can carry, since it is sent in one.
Token = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[\x21-\x7e]*$")]
# To JSON Schema, 2.0 is an integer, too.
Count = Annotated[StrictInt, Field(ge=1, le=_MOST_GPUS), BeforeValidator(_whole)]
CountFromZero = Annotated[StrictInt, Field(ge=0, le=_MOST_GPUS), BeforeValidator(_whole)]
Priority = Annotated[StrictInt, Field(ge=-_MOST_LEVELS, le=_MOST_LEVELS), BeforeValidator(_whole)]
DeploymentName = Annotated[Text, Field(max_length=250, description="No other deployment may have it.")]
Parameters = Annotated[list[Text], Field(max_length=1000)]


def is_none(value: Any) -> bool:
    return value is None


# Newer clients' types refuse null, so an absent value is left out.
GivenText = Annotated[str | None, Field(None, exclude_if=is_none), WithJsonSchema({"type": "string"})]
GivenTime = Annotated[
    Time | None, Field(None, exclude_if=is_none), WithJsonSchema({"type": "string", "format": "date-time"})
]
GivenCount = Annotated[int | None, Field(None, exclude_if=is_none), WithJsonSchema({"type": "integer"})]
