"""Converts forms to the API's schemas, so that both accept and refuse the same."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from app.api.bodies import Body
from app.domain.errors import BadRequest, ModelInUse, Refusal
from app.http.errors import explain

Shape = TypeVar("Shape", bound=Body)


def filled(shape: type[Shape], words: Mapping[str, Any]) -> Shape:
    """Validate `words`, keyed by the API's names. Raises `BadRequest`, which does not repeat them."""
    try:
        return shape.model_validate(words)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        message, field = explain({**problem, "loc": ("body", *problem["loc"])})
        raise BadRequest(message, field=field) from None


def patterns(text: str) -> list[str] | None:
    """Split at line ends and spaces; return `None` if there is no pattern."""
    return text.split() or None


def an_id(text: str) -> UUID | None:
    """Return `None` for an invalid id."""
    try:
        return UUID(text)
    except ValueError:
        return None


def number(text: str) -> int | str | None:
    """Return the count, or the text for validation to refuse."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else text or None


def is_sure(form: Mapping[str, str]) -> bool:
    """Return whether the user confirmed a delete: in the script's dialog or, without scripts, on a page of its own."""
    return bool(form.get("sure"))


def page_number(text: str) -> int:
    """Return the page number, from 1; 1 for invalid text."""
    return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def said(refusal: Refusal | None) -> Mapping[str, Any] | None:
    """Return the refusal as shown."""
    if refusal is None:
        return None
    return {"message": told(refusal), "field": refusal.field, "in_use": isinstance(refusal, ModelInUse)}


def told(refusal: Refusal) -> str:
    """Return a refusal's message, in the words of these pages where the API's are about its own fields."""
    in_use = isinstance(refusal, ModelInUse)
    return "Deployments use this model. Delete them first, then delete the model." if in_use else refusal.message
