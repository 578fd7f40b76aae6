"""Finds the depot that the commands use, and the key."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from app.client.contexts import LOCAL, Place, load
from app.client.exits import CannotDo, Wrong
from app.local import OTHERWISE, NoKey, key_file, own_address, read_key


def find_place(url: str | None, data: Path, context: str | None = None, *, own: bool = False) -> Place:
    """Return the depot that is meant, and the key for it. Raises `Wrong`, `NotThere`.

    That is `context`, if one is named. Else the depot is at `url`, or is the current context or, with `own` or without
    one, this machine's; the key is the one in the environment, or else the one that the context or this machine's depot
    has, which is sent to no other.
    """
    here = _own_url(data)
    if context:
        return _own(here, here, data) if context == LOCAL else load().named(context)
    key = _key_in_environment()
    if key:
        return Place(base(url) if url else here, *key)
    contexts = load()
    if url:
        known = contexts.of(url := base(url))
    else:
        known = None if own or contexts.current == LOCAL else contexts.named(contexts.current)
    return known or _own(url or here, here, data)


def elsewhere(data: Path) -> str | None:
    """Return what names the depot that the users' commands use if that is not this machine's, for messages."""
    try:
        if url := os.environ.get("DEPOT_URL"):
            return None if base(url) == _own_url(data) else f"the one at DEPOT_URL, {base(url)}"
        # A key without an address is for this machine's depot.
        current = LOCAL if _key_in_environment() else load().current
    except CannotDo:
        return None
    return None if current == LOCAL else f"{current!r}, the context in use"


def base(url: str) -> str:
    """Strip `/v2`, which the SDKs need. Raises `Wrong`."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Wrong(f"{url!r} is no address of a depot: it must look like https://depot.example.org (DEPOT_URL, --url)")
    return url.rstrip("/").removesuffix("/v2")


def local_place(data: Path) -> tuple[str, str | None]:
    """Return the URL of this machine's depot, and its key's id if there is one."""
    try:
        return _own_url(data), read_key(key_file(data))[0]
    except NoKey:
        return _own_url(data), None


def _own(url: str, here: str, data: Path) -> Place:
    if url != here:
        raise Wrong(
            f"no key for {url}: `modeldepot login {url}` asks for one and keeps it, or set DEPOT_KEY and DEPOT_SECRET. "
            "`modeldepot key create` there makes one"
        )
    if not key_file(data).exists():
        raise Wrong(
            f"no depot is known: there is none in {data}. Start one here with `modeldepot up`, or for one elsewhere do "
            "`modeldepot login URL`, or set DEPOT_URL, DEPOT_KEY and DEPOT_SECRET"
        )
    try:
        return Place(url, *read_key(key_file(data)))
    except NoKey as error:
        raise Wrong(str(error)) from None


def _key_in_environment() -> tuple[str, str] | None:
    key, secret = os.environ.get("DEPOT_KEY", ""), os.environ.get("DEPOT_SECRET", "")
    if bool(key) != bool(secret):
        raise Wrong("set both DEPOT_KEY and DEPOT_SECRET, or neither")
    return (key, secret) if key else None


def _own_url(data: Path) -> str:
    return base(own_address(data) or OTHERWISE)
