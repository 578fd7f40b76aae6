"""The base of JSON answers, and the one shape of errors."""

from pydantic import BaseModel, ConfigDict


def kebab(name: str) -> str:
    """Return a field's name as the contract writes it."""
    return name.replace("_", "-")


class Wire(BaseModel):
    """An answer, built from a row's columns."""

    model_config = ConfigDict(
        alias_generator=kebab, validate_by_name=True, from_attributes=True, protected_namespaces=()
    )


class Error(Wire):
    """What went wrong. `error` says what to do, and so does `message`, for older clients; the others are RFC 9457's."""

    error: str
    message: str
    type: str = "about:blank"
    title: str
    status: int
    detail: str
