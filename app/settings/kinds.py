"""The kinds of values that settings have: types that pydantic checks. An error says what the value must be."""

import base64
import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.db.session import async_url
from app.domain.errors import BadRequest
from app.domain.keys import KEY_ID, limit_to
from app.sealing import Sealer
from app.storage.locations import bucket_of, is_bucket

_WEBHOOK, _SHORTEST_WEBHOOK, _LONGEST_WEBHOOK = "whsec_", 24, 64
"""How a secret of the Standard Webhooks specification begins, and its length in bytes."""


def split(value: str) -> list[str]:
    """Return the parts between commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def split_keys(value: SecretStr) -> list[str]:
    """Return the keys that seal."""
    return split(value.get_secret_value())


def split_webhook_keys(value: SecretStr) -> list[bytes]:
    """Return the keys that sign webhooks. Raise `ValueError` for one that is none."""
    keys = []
    for secret in split(value.get_secret_value()):
        try:
            key = base64.b64decode(secret.removeprefix(_WEBHOOK), validate=True)
        except ValueError:
            key = b""
        if not secret.startswith(_WEBHOOK) or not _SHORTEST_WEBHOOK <= len(key) <= _LONGEST_WEBHOOK:
            raise ValueError(
                f"it must be {_WEBHOOK} and {_SHORTEST_WEBHOOK} to {_LONGEST_WEBHOOK} random bytes in base64: "
                f"`echo {_WEBHOOK}$(openssl rand -base64 32)` prints one"
            )
        keys.append(key)
    return keys


def _database_url(value: str) -> str:
    async_url(value)
    return value


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it must begin with redis://, rediss:// or unix://")
    return value


def _address(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("it must begin with http:// or https://")
    if value and not urlsplit(value).hostname:
        raise ValueError("it must name a host")
    return value.rstrip("/")


def _networks(value: str) -> str:
    for network in split(value):
        ipaddress.ip_network(network)
    return value


def _name_patterns(value: str) -> str:
    try:
        limit_to(split(value))
    except BadRequest as error:
        raise ValueError(error.message) from None
    return value


def _location(value: str) -> str:
    if is_bucket(value):
        bucket_of(value)
    elif not Path(value).is_absolute():
        raise ValueError("it must be an absolute path, or s3://bucket/prefix")
    return value


def _sealing_keys(value: SecretStr) -> SecretStr:
    Sealer(split_keys(value))
    return value


def _secret_address(value: SecretStr) -> SecretStr:
    _address(value.get_secret_value())
    return value


def _webhook_keys(value: SecretStr) -> SecretStr:
    split_webhook_keys(value)
    return value


def _key_id(value: str) -> str:
    if value and not KEY_ID.fullmatch(value):
        raise ValueError("it must have 3 to 64 letters, digits, - or _")
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
Address = Annotated[str, AfterValidator(_address)]
"""A URL, without a slash at its end; or empty."""
Networks = Annotated[str, AfterValidator(_networks)]
"""Addresses and networks, comma-separated."""
NamePatterns = Annotated[str, AfterValidator(_name_patterns)]
"""Patterns of models' names, comma-separated."""
Location = Annotated[str, AfterValidator(_location)]
"""A folder's absolute path, or `s3://bucket/prefix`."""
SealingKeys = Annotated[SecretStr, AfterValidator(_sealing_keys)]
"""Keys of `app.sealing.Sealer`, comma-separated."""
KeyId = Annotated[str, AfterValidator(_key_id)]
"""The id of an API key, or empty."""
SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
"""A URL that may hold a secret; or empty."""
WebhookKeys = Annotated[SecretStr, AfterValidator(_webhook_keys)]
"""Secrets of the Standard Webhooks specification, comma-separated; or empty."""
