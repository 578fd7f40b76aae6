"""What a form says, as the API's own shapes, so that the same is accepted and the same refused."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from app.api.schemas import Body
from app.domain.errors import BadRequest, ModelInUse, Refusal
from app.http.errors import explain

Shape = TypeVar("Shape", bound=Body)


def filled(shape: type[Shape], words: Mapping[str, Any]) -> Shape:
    """`words` by the names they have in the API. Raises `BadRequest`, which does not repeat them."""
    try:
        return shape.model_validate(words)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        message, field = explain({**problem, "loc": ("body", *problem["loc"])})
        raise BadRequest(message, field=field) from None


def patterns(text: str) -> list[str] | None:
    """One a line, or several with spaces between; `None` where there is none."""
    return text.split() or None


def an_id(text: str) -> UUID | None:
    """`None` for what is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def number(text: str) -> int | str | None:
    """As a count, or as it is, to be refused by name."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else text or None


def is_sure(form: Mapping[str, str]) -> bool:
    """Whether it was asked before a delete: by the page's script or, where none runs, by a page of its own."""
    return bool(form.get("sure"))


def page_number(text: str) -> int:
    """From 1 on; what makes no sense is as if it were not there."""
    return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def said(refusal: Refusal | None) -> Mapping[str, Any] | None:
    """What a page tells of it."""
    if refusal is None:
        return None
    in_use = isinstance(refusal, ModelInUse)
    message = "Deployments use this model. Delete them first, then delete the model." if in_use else refusal.message
    return {"message": message, "field": refusal.field, "in_use": in_use}
