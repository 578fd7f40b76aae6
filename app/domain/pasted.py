"""Reads what people paste for a model's name: addresses of the Hub's pages, names with a quantization, command lines.

owner/name[.git][@REVISION]                     a repository
owner/name:Q4_K_M[@REVISION]                    the GGUF model of that quantization, or file; also after hf.co/
name                                            a kept model with this name, of any owner
https://huggingface.co/owner/name[.git]         a repository; also hf.co, hf://, git@hf.co:, without https://
…/owner/name/tree/REVISION[/FOLDER]             a revision of it, or a folder of that
…/owner/name/blob/REVISION/PATH                 one file of it, or the model whose shard that is; also resolve/
…/owner/name[/tree/REVISION]?show_file_info=PATH    likewise
ollama run hf.co/owner/name                     the name in it; see `other_programs`

Addresses may be those of a mirror, too, if `read` is told which is the depot's Hub.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from app.domain import other_programs
from app.domain.errors import BadRequest
from app.domain.gguf import Variant, only, quantizations, tagged
from app.domain.repositories import CARD, check_name, check_revision, without_card

_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"})
_ADDRESS = re.compile(r"(?:https?://)?(?P<host>[^/]+)(?P<path>/.*)", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"git@(?:hf\.co|huggingface\.co):|hf://", re.IGNORECASE)
_REVISION = re.compile(r"(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+)(?:/(?P<path>.*))?")
_PATH = re.compile(
    r"(?P<name>[^/]+/[^/:@]+)(?::(?P<tag>[^@]*))?(?:@(?P<revision>.*)|/(?P<place>[^/]*)(?:/(?P<rest>.*))?)?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,250}")
_BARE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_TOKEN = re.compile(r"hf_\w+")
_SHARD = re.compile(r"-\d{5}(?=-of-(?P<count>\d{5})\.(?P<format>gguf|safetensors|bin)$)", re.IGNORECASE)
_SHARDS = re.compile(r"-\?{5}(?=-of-(?P<count>\d{5})\.gguf$)", re.IGNORECASE)
_ESCAPED = re.compile(r"\[([*?[])\]")
_FOLDERS, _FILES = frozenset({"tree"}), frozenset({"blob", "resolve", "raw", "blame"})
_BESIDE_SHARDS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py")
"""What engines need beside weights: the index, the configuration, the tokenizer, code."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was meant. `name` has no owner if none was given; `tag` is for `gguf.tagged`.

    `note` tells the user what is more than the text says; empty if nothing is.
    """

    name: str
    revision: str | None = None
    include: tuple[str, ...] = ()
    tag: str | None = None
    note: str = ""

    @property
    def is_bare(self) -> bool:
        return "/" not in self.name


def read(text: str, hub: str = "") -> Pasted:
    """Return what `text` means. `hub` is the address of the depot's Hub. Raises `BadRequest`, which says what can be given."""
    if (line := other_programs.read(text)) is None:
        return _of_name(text.strip(), hub)
    meant = _of_name(line.name, hub)
    if line.is_of_gguf and not meant.include:
        meant = replace(meant, tag=meant.tag or "latest")
    if not (line.revision or line.files or line.include):
        return meant
    if meant.revision or meant.include or meant.tag:
        raise other_programs.unclear()
    if len(line.files) == 1 and not line.include:
        return _of_file(meant.name, line.revision, line.files[0])
    return Pasted(meant.name, line.revision, (*map(escape, line.files), *line.include))


def include_of(variant: Variant) -> Sequence[str]:
    """Return the patterns that select a GGUF model with its shards, its projector, its card and its licence."""
    first = escape(variant.path)
    model = first if len(variant.paths) == 1 else _all_shards(first)
    return [model, *([escape(variant.projector)] if variant.projector else []), *CARD]


def paths_of(patterns: Sequence[str]) -> Sequence[str] | None:
    """Return the paths of weights that patterns name, shards one by one; None if there are other wildcards or none."""
    paths: list[str] = []
    for pattern in without_card(patterns):
        shards = _SHARDS.search(pattern)
        numbers = range(1, int(shards["count"]) + 1) if shards else ()
        paths += [_SHARDS.sub(f"-{number:05}", pattern) for number in numbers] or [pattern]
    if not paths or any(set("*?[") & set(_ESCAPED.sub("", path)) for path in paths):
        return None
    return [_ESCAPED.sub(r"\1", path) for path in paths]


def quantization_of(patterns: Sequence[str]) -> str:
    """Return what patterns tell of the quantization that they select: its tag, or what they mention; empty if nothing."""
    if variant := only(paths_of(patterns) or ()):
        return variant.tag
    return ",".join(dict.fromkeys(one for pattern in patterns for one in quantizations(pattern)))


def name_of(name: str, revision: str, include: Sequence[str]) -> str | None:
    """Return what means these files of a repository if they are one GGUF model, such as `owner/name:Q4_K_M@v1`."""
    variant = only(paths_of(include) or ())
    return f"{name}:{variant.tag}{'' if revision == 'main' else f'@{revision}'}" if variant else None


def choose(variants: Sequence[Mapping[str, Any]], tag: str) -> Mapping[str, Any]:
    """Return the one of a plan's `variants` that a tag means. Raises `BadRequest`."""
    by_path = {one["files"][0]: one for one in variants}
    found = tagged(by_path, tag)
    if len(found) == 1:
        return by_path[found[0]]
    if not found:
        known = ", ".join(dict.fromkeys(one["quantization"] or one["name"] for one in variants))
        there = f"There is no {tag} in the repository, but {known}." if known else "The repository has no GGUF model."
        raise BadRequest(there, field="name")
    names = ", ".join(by_path[path]["name"] for path in found)
    raise BadRequest(
        f"{len(found)} models of the repository are {tag}: name one of {names} in its place.", field="name"
    )


def is_choice(plan: Mapping[str, Any]) -> bool:
    """Return whether a plan of a repository is of several quantizations of one model, of which people want one."""
    return plan["formats"] == ["gguf"] and len(plan["variants"]) > 1


def in_fields(text: str, hub: str) -> str:
    """Return what a request to the API has to hold for `text`; empty if it can't be read."""
    try:
        meant = read(text, hub)
    except BadRequest:
        return ""
    if meant.is_bare:
        return ""
    fields: dict[str, Any] = {"name": meant.name, "revision": meant.revision, "include": list(meant.include)}
    told = ", ".join(f'"{name}": {json.dumps(value)}' for name, value in fields.items() if value)
    return told + (f' and the "include" that POST /v2/ai/model/plan tells for {meant.tag}' if meant.tag else "")


def _of_name(text: str, hub: str) -> Pasted:
    text = _on_the_hub(text, hub).rstrip("/")
    if other := _OTHER_SCHEME.match(text):
        text = f"https://hf.co/{text[other.end() :]}"
    found = _ADDRESS.fullmatch(text)
    if "://" in text or (found and found["host"].lower() in _HOSTS):
        return _of_address(text)
    rest, at, revision = text.partition("@")
    name, colon, tag = rest.partition(":")
    if "/" in name and not re.search(r"\s", text):
        check_name(name := name.removesuffix(".git"))
    elif not _BARE.fullmatch(name):
        raise _unclear(text)
    return _told(name, tag if colon else None, revision if at else None, text)


def _told(name: str, tag: str | None, revision: str | None, text: str) -> Pasted:
    if tag is not None and not _TAG.fullmatch(tag):
        raise _unclear(text)
    if revision is not None:
        before, colon, late = revision.partition(":")
        if colon and tag is None and _TAG.fullmatch(late):
            raise BadRequest(f"The quantization goes before the @: give '{name}:{late}@{before}'.", field="name")
        check_revision(revision)
    return Pasted(name, revision, tag=tag)


def _on_the_hub(text: str, hub: str) -> str:
    """Return the address on the Hub of what `text` is the address of on a mirror."""
    bare, mirror = _SCHEME.sub("", text, count=1), _SCHEME.sub("", hub, count=1).rstrip("/") + "/"
    return f"https://hf.co/{bare[len(mirror) :]}" if hub and bare.lower().startswith(mirror.lower()) else text


def _of_address(text: str) -> Pasted:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        raise _unclear(text) from None
    if parts.scheme not in {"http", "https"} or (parts.hostname or "") not in _HOSTS:
        raise _unclear(text)
    path = parts.path.strip("/")
    found = _PATH.fullmatch(path)
    name = found["name"].removesuffix(".git") if found else path
    if name.startswith(("datasets/", "spaces/")):
        kind = name.partition("/")[0]
        raise BadRequest(f"This is the address of one of the Hub's {kind}: only models are kept here.", field="name")
    check_name(name)
    if found is None:
        raise _unclear(text)
    if found["tag"] is not None or found["revision"] is not None:
        return _told(name, found["tag"], found["revision"], text)
    shown = parse_qs(parts.query).get("show_file_info", [""])[0].strip("/")
    return _of_page(name, found["place"] or "", found["rest"] or "", shown)


def _of_page(name: str, place: str, rest: str, shown: str) -> Pasted:
    """Return what a page is about that shows the file `shown`. One with nothing of a revision is about all of it."""
    found = _REVISION.fullmatch(rest)
    revision, path = None, ""
    if place in _FOLDERS | _FILES and found:
        revision, path = unquote(found["revision"]), unquote(found["path"] or "").strip("/")
        check_revision(revision)
    if shown and not shown.endswith(".json"):  # the index of shards, for which the Hub shows what all of them hold
        return _of_file(name, revision, shown)
    if path and place in _FILES:
        return _of_file(name, revision, path)
    return Pasted(name, revision, (f"{escape(path)}/*",) if path else ())


def _of_file(name: str, revision: str | None, path: str) -> Pasted:
    """Return a file; for a shard its model, since no engine loads one shard alone."""
    found = _SHARD.search(path)
    if found is None:
        return Pasted(name, revision, (escape(path),))
    note = f"{path} is one shard of a model: all {int(found['count'])} are meant"
    if found["format"].lower() == "gguf":
        return Pasted(name, revision, tag=_SHARD.sub("-00001", path), note=f"{note}, and its projector if it has one.")
    folder = PurePosixPath(escape(path)).parent
    beside = (str(folder / pattern) for pattern in _BESIDE_SHARDS)
    note += ", with its configuration and tokenizer."
    return Pasted(name, revision, (_all_shards(escape(path)), *beside), note=note)


def _all_shards(path: str) -> str:
    return _SHARD.sub("-?????", path)


def _unclear(text: str) -> BadRequest:
    shown = _TOKEN.sub("hf_…", text)[:100]
    message = (
        f"{shown!a} is no model's name: give 'owner/name', 'owner/name:Q4_K_M' or the address of its page on the Hub, "
        "https://huggingface.co/owner/name."
    )
    return BadRequest(message, field="name")
