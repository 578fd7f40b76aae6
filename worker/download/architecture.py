"""Tells what the model in a repository's files is: by the Hub's description or, where that lacks it, by files' heads."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from app.domain import configurations, gguf, heads
from app.domain.errors import OperationError
from app.domain.heads import Gguf
from app.domain.told import by_type, member, number, text
from worker.download.hub import Hub, Listing
from worker.download.listing import HubFile

_WITHIN = 3.0
"""Seconds that reading heads may take: what is not there by then is not told."""
_READERS = 8
_MOST_FILES = 64
"""Safetensors files that are read; of more, only the Hub tells the parameters."""
_FIRST, _MOST = 1 << 17, 1 << 23
"""Bytes that are read of a head at first, and at most."""
_CONFIG, _LONGEST_CONFIG = "config.json", 1 << 18
_UNREADABLE = (
    HfHubHTTPError,
    httpx2.HTTPError,
    httpx2.StreamError,
    OSError,
    ValueError,
    OperationError,
    heads.Incomplete,
)
_Read = TypeVar("_Read")


def told(hub: Hub, listing: Listing, *, may_read: bool) -> Mapping[str, Any]:
    """Return parameters, architecture, context length and quantization, None where nobody tells."""
    info, heads_ = listing.info, _Heads(hub, listing, may_read=may_read)
    by_hub = by_type(getattr(info.safetensors, "parameters", None))
    config = heads_.begin(_read_config, _CONFIG)
    weights = heads_.begin_gguf() if member(info.gguf, "context_length") is None else None
    tensors = [] if by_hub else heads_.begin_safetensors()
    begun: list[Future[Any]] = [one for one in (config, weights, *tensors) if one]
    wait(begun, timeout=_WITHIN)
    by_config, by_head = _result(config, {}), _result(weights, Gguf())
    counts = [_result(one, Counter[str]()) for one in tensors]
    parameters = by_hub or (sum(counts, Counter[str]()) if all(counts) else Counter[str]())
    return {
        "parameters": parameters.total() or number(member(info.gguf, "total")) or by_head.parameters,
        "parameters_by_type": dict(parameters),
        "architecture": configurations.architecture(by_config)
        or configurations.architecture(info.config)
        or text(member(info.gguf, "architecture"))
        or text(by_head.architecture),
        "context_length": number(member(info.gguf, "context_length"))
        or number(by_head.context_length)
        or configurations.context_length(by_config),
        "quantization": configurations.quantization(by_config) or configurations.quantization(info.config),
    }


class _Heads:
    """Reads heads, several at once. Without `may_read` none is."""

    def __init__(self, hub: Hub, listing: Listing, *, may_read: bool) -> None:
        self._hub, self._listing = hub, listing
        self._files = {file.path: file for file in listing.files} if may_read else {}
        self._pool = ThreadPoolExecutor(_READERS)

    def begin(self, read: Callable[[Hub, str, HubFile], _Read], path: str) -> "Future[_Read] | None":
        file = self._files.get(path)
        return self._pool.submit(read, self._hub, self._listing.commit, file) if file else None

    def begin_gguf(self) -> "Future[Gguf] | None":
        """Begin with the best default among the selected models."""
        found = gguf.variants((file.path, file.size) for file in self._listing.chosen)
        return self.begin(_read_gguf, found[0].path) if found else None

    def begin_safetensors(self) -> "Sequence[Future[Counter[str]]]":
        paths = [file.path for file in self._listing.chosen if file.path.endswith(".safetensors")]
        begun = [self.begin(_read_safetensors, path) for path in paths] if len(paths) <= _MOST_FILES else []
        return [one for one in begun if one]


def _read_config(hub: Hub, commit: str, file: HubFile) -> Mapping[str, Any]:
    if file.size > _LONGEST_CONFIG:
        return {}
    try:
        found = json.loads(hub.head(commit, file.path, _LONGEST_CONFIG))
    except RecursionError:
        return {}
    return found if isinstance(found, dict) else {}


def _read_safetensors(hub: Hub, commit: str, file: HubFile) -> Counter[str]:
    data = hub.head(commit, file.path, _FIRST)
    size = heads.safetensors_size(data)
    if len(data) < size <= _MOST:
        data = hub.head(commit, file.path, size)
    return heads.safetensors_parameters(data)


def _read_gguf(hub: Hub, commit: str, file: HubFile) -> Gguf:
    found = heads.gguf(hub.head(commit, file.path, _FIRST))
    if found.parameters is None and file.size > _FIRST:
        found = heads.gguf(hub.head(commit, file.path, _MOST))
    return found


def _result(begun: "Future[_Read] | None", otherwise: _Read) -> _Read:
    """Return what was read; `otherwise` if nothing was, or not in time."""
    if begun is None or not begun.done() or isinstance(begun.exception(), _UNREADABLE):
        return otherwise
    return begun.result()
