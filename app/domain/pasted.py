"""Reads what people paste for a model's name: addresses of the Hub's pages, and names with a quantization.

https://huggingface.co/owner/name               a repository; also hf.co, and without https://
…/owner/name/tree/REVISION[/FOLDER]             a revision of it, or a folder of that
…/owner/name/blob/REVISION/PATH                 one file of it; also resolve/
owner/name:Q4_K_M                               the GGUF model of that quantization, or file; also after hf.co/
name                                            a kept model with this name, of any owner
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from typing import Any
from urllib.parse import unquote, urlsplit

from app.domain.errors import BadRequest
from app.domain.gguf import Variant, tagged
from app.domain.repositories import check_name, check_revision

_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"})
_ADDRESS = re.compile(r"(?:https?://)?(?P<host>[^/]+)(?P<path>/.*)", re.IGNORECASE)
_REVISION = re.compile(r"(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+)(?:/(?P<path>.*))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_BARE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_SHARD = re.compile(r"-\d{5}(?=-of-\d{5}\.gguf$)", re.IGNORECASE)
_FOLDERS, _FILES = frozenset({"tree"}), frozenset({"blob", "resolve", "raw", "blame"})


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was meant. `name` has no owner if none was given; `tag` is for `gguf.tagged`."""

    name: str
    revision: str | None = None
    include: tuple[str, ...] = ()
    tag: str | None = None

    @property
    def is_bare(self) -> bool:
        return "/" not in self.name


def read(text: str) -> Pasted:
    """Return what `text` means. Raises `BadRequest`, which says what can be given."""
    text = text.strip()
    found = _ADDRESS.fullmatch(text)
    if "://" in text or (found and found["host"].lower() in _HOSTS):
        return _of_address(text)
    name, colon, tag = text.partition(":")
    if "/" in name:
        check_name(name)
    elif not _BARE.fullmatch(name):
        raise _unclear(text)
    return Pasted(name, tag=_tag(tag, text) if colon else None)


def include_of(variant: Variant) -> Sequence[str]:
    """Return the patterns that select a GGUF model with its shards and its projector, and nothing else."""
    first = escape(variant.path)
    model = first if len(variant.paths) == 1 else _SHARD.sub("-?????", first)
    return [model, escape(variant.projector)] if variant.projector else [model]


def choose(variants: Sequence[Mapping[str, Any]], tag: str) -> Mapping[str, Any]:
    """Return the one of a plan's `variants` that a tag means. Raises `BadRequest`."""
    by_path = {one["files"][0]: one for one in variants}
    found = tagged(by_path, tag)
    if len(found) == 1:
        return by_path[found[0]]
    if not found:
        known = ", ".join(dict.fromkeys(one["quantization"] or one["name"] for one in variants)) or "no GGUF model"
        raise BadRequest(f"There is no {tag} in the repository, but {known}.", field="name")
    names = ", ".join(by_path[path]["name"] for path in found)
    raise BadRequest(
        f"{len(found)} models of the repository are {tag}: name one of {names} in its place.", field="name"
    )


def in_fields(text: str) -> str:
    """Return what a request to the API has to hold for `text`; empty if it can't be read."""
    try:
        meant = read(text)
    except BadRequest:
        return ""
    if meant.is_bare:
        return ""
    fields: dict[str, Any] = {"name": meant.name, "revision": meant.revision, "include": list(meant.include)}
    told = ", ".join(f'"{name}": {json.dumps(value)}' for name, value in fields.items() if value)
    return told + (f' and the "include" that POST /v2/ai/model/plan tells for {meant.tag}' if meant.tag else "")


def _of_address(text: str) -> Pasted:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        raise _unclear(text) from None
    if parts.scheme not in {"http", "https"} or (parts.hostname or "") not in _HOSTS:
        raise _unclear(text)
    path, colon, tag = parts.path.strip("/").partition(":")
    owner, _, rest = path.partition("/")
    name, _, rest = rest.partition("/")
    if owner in {"datasets", "spaces"} and name:
        raise BadRequest(f"This is the address of one of the Hub's {owner}: only models are kept here.", field="name")
    check_name(f"{owner}/{name}")
    place, _, rest = rest.partition("/")
    if not place:
        return Pasted(f"{owner}/{name}", tag=_tag(tag, text) if colon else None)
    rest = f"{rest}:{tag}" if colon else rest
    return _of_page(f"{owner}/{name}", place, rest)


def _of_page(name: str, place: str, rest: str) -> Pasted:
    """Return what a page below a repository's own is about. Those with nothing of a revision are about all of it."""
    found = _REVISION.fullmatch(rest)
    if place not in _FOLDERS | _FILES or found is None:
        return Pasted(name)
    revision, path = unquote(found["revision"]), unquote(found["path"] or "").strip("/")
    check_revision(revision)
    if not path:
        return Pasted(name, revision)
    pattern = escape(path) + ("/*" if place in _FOLDERS else "")
    return Pasted(name, revision, (pattern,))


def _tag(tag: str, text: str) -> str:
    if not _TAG.fullmatch(tag):
        raise _unclear(text)
    return tag


def _unclear(text: str) -> BadRequest:
    message = (
        f"{text[:100]!a} is no model's name: give 'owner/name', 'owner/name:Q4_K_M' or the address of its page on the Hub, "
        "https://huggingface.co/owner/name."
    )
    return BadRequest(message, field="name")
