"""Speaks as much of a container registry's protocol as Ollama, and llama.cpp before it read the Hub's, need to pull GGUF.

Ollama fetches a blob in ranges from the address in `Location`, without credentials: that is a sealed link to this server,
for one blob and some hours. It follows no redirect to the same host, but reads the header of a 200.
"""

import hashlib
import json
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from app.domain import gguf, heads
from app.hub_api.calls import Call, entry_not_found
from app.hub_api.entries import Entries, File
from app.hub_api.errors import HubError
from app.hub_api.resolve import open_file, send
from app.sealing import CannotOpen

_LINK_SECONDS = 43_200
"""How long a link is good: a large model takes hours on a slow line, and each of its ranges is a request."""
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_MODEL, _PROJECTOR = "application/vnd.ollama.image.model", "application/vnd.ollama.image.projector"
_BESIDE = {
    "template": "application/vnd.ollama.image.template",
    "system": "application/vnd.ollama.image.system",
    "params": "application/vnd.ollama.image.params",
    "LICENSE": "application/vnd.ollama.image.license",
}
"""Files that repositories hold for Ollama, by their paths."""
_HEAD = 4096
"""Bytes at the beginning of a model that name its architecture: it comes first."""
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


async def manifest(call: Call) -> Response:
    """Describe the model that a tag, such as a quantization, stands for."""
    entries = await call.entries(await call.snapshot())
    variant = _chosen(call, entries)
    if call.request.headers.get("user-agent", "").startswith("llama-cpp"):
        named = {"ggufFile": variant.path, "mmprojFile": variant.projector}
        return JSONResponse({kind: {"rfilename": path} for kind, path in named.items() if path})
    if len(variant.paths) > 1:
        message = (
            f"Ollama takes models in one file, and {call.name}:{call.tag} is in several. Name another quantization, or "
            f"use llama.cpp."
        )
        raise HubError(message, status=HTTPStatus.BAD_REQUEST)
    model = entries.files[variant.path]
    config = await call.hub.in_thread(_config, call, model)
    layers = [_layer(_MODEL, model)]
    layers += [_layer(_PROJECTOR, entries.files[variant.projector])] if variant.projector else []
    layers += [_layer(kind, entries.files[path]) for path, kind in _BESIDE.items() if path in entries.files]
    answer = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"digest": _digest(config), "mediaType": _CONFIG, "size": len(config)},
        "layers": layers,
    }
    return JSONResponse(answer, media_type=_MANIFEST)


async def blob(call: Call) -> Response:
    """Send a file of the repository by its SHA-256, or the description of a model that its manifest names."""
    sealed = call.request.query_params.get("link")
    if sealed is None:
        call = await call.admitted()
    else:
        _check_link(call, sealed)
    snapshot = await call.snapshot()
    entries = await call.entries(snapshot)
    headers = {"Docker-Content-Digest": call.tag} | ({} if sealed else {"Location": _link(call)})
    found = _DIGEST.fullmatch(call.tag)
    if found and (file := entries.by_checksum.get(found[1])):
        return await send(call, file, headers)
    for variant in _variants(entries):
        config = await call.hub.in_thread(_config, call, entries.files[variant.path])
        if _digest(config) == call.tag:
            return Response(config, headers=headers, media_type=_CONFIG)
    raise entry_not_found(call, snapshot)


def _chosen(call: Call, entries: Entries) -> gguf.Variant:
    """Return the model that the tag stands for, of several the best default. Raises `HubError`."""
    variants = {one.path: one for one in _variants(entries)}
    chosen = gguf.tagged(variants, call.tag)
    if not chosen:
        known = ", ".join(list(variants)[:10]) or "none"
        raise HubError(f"{call.name} has no {call.tag}: the GGUF models that the depot keeps of it are {known}.")
    return variants[chosen[0]]


def _variants(entries: Entries) -> Sequence[gguf.Variant]:
    return gguf.variants((file.path, file.size) for file in entries.files.values())


def _architecture(head: bytes) -> str:
    with suppress(ValueError):
        told = heads.gguf(head).architecture
        if told and told.isascii() and told.isprintable():
            return told
    return "unknown"


def _config(call: Call, model: File) -> bytes:
    """Return Ollama's description of a model, always the same for the same file. Raises `HubError`."""
    opened = open_file(call, model)
    try:
        family = _architecture(opened.read(0, _HEAD))
    finally:
        opened.close()
    described = {
        "model_format": "gguf",
        "model_family": family,
        "model_families": [family],
        "model_type": "",
        "file_type": "",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{model.sha256}"]},
    }
    return json.dumps(described).encode()


def _layer(kind: str, file: File) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{file.sha256}", "size": file.size}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _link(call: Call) -> str:
    raw: bytes = call.request.scope["raw_path"]
    until = int(time.time()) + _LINK_SECONDS
    sealed = call.hub.sealer.seal(str(until), belongs_to=_belongs(call))
    return f"{raw.partition(b'?')[0].decode('ascii', 'replace')}?link={quote(sealed, safe='')}"


def _check_link(call: Call, sealed: str) -> None:
    """Raise `HubError` unless this depot made the link, for this blob of this repository, not too long ago."""
    try:
        good = int(call.hub.sealer.open(sealed, belongs_to=_belongs(call))) >= time.time()
    except CannotOpen:
        good = False
    if not good:
        raise HubError("This link is not good any more: start the pull again.", status=HTTPStatus.UNAUTHORIZED)


def _belongs(call: Call) -> str:
    return f"link to {call.tag} of {call.name}"
