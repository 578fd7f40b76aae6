"""Finds the depot that the commands use, and the key."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from app.client.exits import Wrong
from app.local import OTHERWISE, NoKey, key_file, own_address, read_key


@dataclass(frozen=True, slots=True)
class Place:
    """A depot's URL, without `/v2`, and the credentials for it."""

    url: str
    key_id: str
    secret: str = field(repr=False)


def find_place(url: str | None, data: Path) -> Place:
    """Return the depot at `url`, by default this machine's, with the key in the environment.

    Without that, the key of this machine's depot is used, but for no other depot. Raises `Wrong`.
    """
    own = _base(own_address(data) or OTHERWISE)
    url = _base(url) if url else own
    given = os.environ.get("DEPOT_KEY", ""), os.environ.get("DEPOT_SECRET", "")
    if all(given):
        return Place(url, *given)
    if any(given):
        raise Wrong("set both DEPOT_KEY and DEPOT_SECRET, or neither")
    if url != own:
        raise Wrong(f"no key for {url}: set DEPOT_KEY and DEPOT_SECRET. `modeldepot key create` there makes one")
    if not key_file(data).exists():
        raise Wrong(
            f"no depot is known: there is none in {data}. Set DEPOT_URL, DEPOT_KEY and DEPOT_SECRET for one elsewhere, "
            "or start one here with `modeldepot up`"
        )
    try:
        return Place(url, *read_key(key_file(data)))
    except NoKey as error:
        raise Wrong(str(error)) from None


def _base(url: str) -> str:
    """Strip `/v2`, which the SDKs need. Raises `Wrong`."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Wrong(f"{url!r} is no address of a depot: it must look like https://depot.example.org (DEPOT_URL, --url)")
    return url.rstrip("/").removesuffix("/v2")
