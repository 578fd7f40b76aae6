"""Describes what a download would fetch, by what the Hub tells of it and by the heads of files; fetches no file.

What the Hub has read from a repository's files by itself is taken; mirrors often tell none of it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from huggingface_hub.errors import HfHubHTTPError

from app.domain import gguf
from app.domain.errors import Failed, OperationError, Reason
from app.domain.pasted import include_of
from app.domain.told import gate, text
from app.storage.names import check_paths
from worker.download import architecture
from worker.download.hub import Hub, Listing
from worker.download.protocol import Described, PlannedFile, PlanRequest
from worker.download.refusals import explain

_MOST_NAMED = 100
"""Pickles that are named."""
_FORMATS: Mapping[str, str] = {
    ".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx", ".h5": "tensorflow", ".msgpack": "flax",
    ".tflite": "tflite", ".mlpackage": "coreml", ".mlmodel": "coreml",
}  # fmt: skip
_PICKLE = re.compile(
    r"\.(pt|pth|ckpt|pkl|pickle|joblib|dill)$"
    r"|(^|/)(pytorch_model|diffusion_pytorch_model|pytorch_lora_weights|adapter_model|training_args|optimizer|scheduler)"
    r"[^/]*\.bin$",
    re.IGNORECASE,
)


def describe(hub: Hub, request: PlanRequest) -> Described:
    """Return what the request selects, and what the Hub and the files tell of it. Raise errors that `explain` translates."""
    listing = hub.manifest(request.revision, request.include, request.exclude)
    check_paths([file.path for file in listing.chosen])
    missing = _missing(hub, request.revision, listing)
    info, paths = listing.info, [file.path for file in listing.chosen]
    pickles = [path for path in paths if _PICKLE.search(path)]
    about = {
        "name": text(info.id) or hub.name,
        "commit": listing.commit,
        "private": info.private is True,
        "gated": _gated(hub, listing, missing),
        "license": _license(hub, listing),
        "library": text(info.library_name),
        "task": text(info.pipeline_tag),
        "formats": _formats(paths),
        "pickle_count": len(pickles),
        "pickles": pickles[:_MOST_NAMED],
        "variants": [_variant(one, set(paths)) for one in _variants(listing)],
        **architecture.told(hub, listing, may_read=missing is None),
    }
    selected = [PlannedFile(file.path, file.size, file.sha256) for file in listing.chosen]
    return Described(about, selected, may_read=missing is None)


def _missing(hub: Hub, revision: str, listing: Listing) -> str | None:
    """Return what this caller lacks to read the files, None if nothing."""
    try:
        if not hub.check_access():
            hub.check_file(listing.commit, listing.chosen[0])
    except (HfHubHTTPError, OperationError) as error:
        refusal = explain(error, hub, revision)
        if isinstance(refusal, Failed) and refusal.reason is Reason.FORBIDDEN:
            return refusal.message
        raise
    return None


def _gated(hub: Hub, listing: Listing, missing: str | None) -> Mapping[str, Any] | None:
    kind = gate(listing.info.gated)
    if kind is None and missing is None:
        return None
    page = f"{hub.endpoint}/{quote(text(listing.info.id) or hub.name)}"
    return {"kind": kind, "granted": missing is None, "link": page, "missing": missing}


def _license(hub: Hub, listing: Listing) -> Mapping[str, Any] | None:
    card = listing.info.card_data
    license_, link = getattr(card, "license", None), text(getattr(card, "license_link", None))
    if isinstance(license_, list):
        license_ = next(iter(license_), None)
    if link and urlsplit(link).scheme not in {"http", "https"}:
        link = f"{hub.endpoint}/{quote(text(listing.info.id) or hub.name)}/blob/{listing.commit}/{quote(link)}"
    found = {"id": text(license_), "name": text(getattr(card, "license_name", None)), "link": link}
    return found if any(found.values()) else None


def _formats(paths: Iterable[str]) -> Sequence[str]:
    found = {
        _FORMATS.get(PurePosixPath(path).suffix.lower()) or ("pickle" if _PICKLE.search(path) else "") for path in paths
    }
    return sorted(found - {""})


def _variants(listing: Listing) -> Sequence[gguf.Variant]:
    """Return the GGUF models of the whole repository, to choose among."""
    return gguf.variants((file.path, file.size) for file in listing.files if text(file.path))


def _variant(variant: gguf.Variant, chosen: set[str]) -> Mapping[str, Any]:
    projector = [variant.projector] if variant.projector else []
    return {
        "name": variant.name,
        "quantization": variant.quantization,
        "size": variant.size,
        "files": list(variant.paths),
        "projector": variant.projector,
        "include": list(include_of(variant)),
        "selected": chosen.issuperset([*variant.paths, *projector]),
    }
