"""GGUF among a repository's files: the models that an engine can load, each with its quantization, shards and projector.

`tagged` says which of them a tag means, such as the one in `owner/name:Q4_K_M`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_QUANTIZATION = re.compile(
    r"(?<![A-Z0-9])(?:UD-)?((?:IQ\d|TQ\d|Q\d)(?:_[A-Z0-9]+)*|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)(?![A-Z0-9])",
    re.IGNORECASE,
)
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_LATEST = "latest"
_DYNAMIC = re.compile(r"(?<![a-z0-9])ud-")
_NOWHERE = (5, False)
_BEST_FIRST = (
    "Q4_K_M",
    "Q4_K",
    "Q4",
    "IQ4",
    "MXFP4",
    "NVFP4",
    "Q5",
    "Q6",
    "Q8",
    "Q3",
    "IQ3",
    "BF16",
    "F16",
    "FP16",
    "Q2",
)
"""Prefixes of quantizations: the most common default, then those near it, larger before smaller."""
_BEST_PROJECTOR_FIRST = ("F16", "FP16", "BF16", "Q8")
_DRAFTS = ("mtp-", "eagle3-", "dflash-", "dspark-")
"""Parts of the names of draft models, which only speed another one up. In lower case, as llama.cpp looks for them."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A model in one quantization, None if no name tells which.

    `paths` are its file or all its shards, in order: engines are given the first. `size` is in bytes, of all of them.
    `projector` is the path of the file with which it takes images or sound, if there is one.
    """

    paths: tuple[str, ...]
    size: int
    quantization: str | None
    projector: str | None

    @property
    def path(self) -> str:
        return self.paths[0]

    @property
    def name(self) -> str:
        """The path without a shard's number and without the ending."""
        return _SHARD.sub("", self.path)[: -len(".gguf")]

    @property
    def tag(self) -> str:
        """The shortest tag that says what it is: its name from the quantization on, its folder's quantization, or its name."""
        file = PurePosixPath(self.name).name
        ends = [file[found.start() :] for found in _QUANTIZATION.finditer(file)]
        tag = ends[-1] if ends else self.quantization
        return tag if tag and tagged([self.path], tag) else self.name

    def is_exactly(self, tag: str) -> bool:
        """Return whether `tag` says what it is, so that no other model of the repository has to be known."""
        names = {self.tag, self.name, *self.paths}
        if quantizations(PurePosixPath(self.name).name):  # else other folders may have files of its name
            names |= {PurePosixPath(name).name for name in names}
        return tag.lower() in map(str.lower, names)


def variants(files: Iterable[tuple[str, int]]) -> Sequence[Variant]:
    """Return the models among files, each (path, size in bytes), the best default first.

    A model of which a shard is missing is none.
    """
    sizes = {path: size for path, size in files if path.lower().endswith(".gguf")}
    projectors = [path for path in sizes if _is_projector(path)]
    found = [
        Variant(paths, sum(sizes[path] for path in paths), _quantization(paths[0]), _projector(paths[0], projectors))
        for paths in _complete(path for path in sizes if _is_model(path))
    ]
    return sorted(found, key=lambda one: (*_place(one.quantization, _BEST_FIRST), one.path))


def only(paths: Iterable[str]) -> Variant | None:
    """Return the one model that files are, with its shards and its projector; None if there are others among them."""
    files = [(path, 0) for path in paths]
    found = variants(files) if all(path.lower().endswith(".gguf") for path, _ in files) else ()
    return found[0] if len(found) == 1 else None


def tagged(paths: Iterable[str], tag: str) -> Sequence[str]:
    """Return those of the models that `tag` means, in any case of letters: what comes first here, and is there.

    1. `latest`: the best default.
    2. A file's path, and then a file's name, with or without its ending and its shard's number.
    3. The end of a name.
    4. A quantization that the name or the folder tells, such as that of `m-Q4_K_M-imat.gguf`.
    5. A part of a path between separators.

    Some repositories hold a quantization twice, by a common recipe and by a dynamic one, marked `UD-`: the tag tells
    which. Models are given and returned by their first paths, the best default first. The Hub's registry, which Ollama
    asks, knows 1 to 3. llama.cpp takes what has the tag before a dot or a hyphen, anywhere in its path.
    """
    models, wanted = list(paths), tag.lower()
    if wanted == _LATEST:
        return models[:1]
    end, part = (re.compile(rf"(?:^|[-./]){re.escape(wanted)}{after}") for after in ("$", "(?=$|[-./])"))
    is_dynamic = _DYNAMIC.match(wanted) is not None
    quantization = wanted.removeprefix("ud-").upper()

    def place(path: str) -> tuple[int, bool]:
        whole, stem, name = path.lower(), _stem(path).lower(), _stem(_SHARD.sub("", path)).lower()
        named = {f"{stem}.gguf", stem, name}
        placed = {str(PurePosixPath(whole).with_name(one)) for one in named}
        other_recipe = (_DYNAMIC.search(stem) is not None) != is_dynamic
        is_alike = _quantization(path) == quantization and not (is_dynamic and other_recipe)
        means = (wanted in placed, wanted in named, end.search(name), is_alike, part.search(whole), True)
        return next(step for step, it in enumerate(means) if it), other_recipe

    places = {path: place(path) for path in models}
    best = min(places.values(), default=_NOWHERE)
    return [path for path in models if places[path] == best < _NOWHERE]


def quantizations(pattern: str) -> Sequence[str]:
    """Return the quantizations that a path or a pattern names; none for a projector."""
    return [] if "mmproj" in pattern.lower() else [found.upper() for found in _QUANTIZATION.findall(pattern)]


def _complete(paths: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """Yield the files of each model that has all its shards."""
    numbered: Mapping[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for path in paths:
        shard = _SHARD.search(path)
        number, count = (int(shard[1]), int(shard[2])) if shard else (1, 1)
        numbered[_SHARD.sub("", path), count][number] = path
    for (_, count), shards in numbered.items():
        if sorted(shards) == list(range(1, count + 1)):
            yield tuple(shards[number] for number in sorted(shards))


def _is_projector(path: str) -> bool:
    return "mmproj" in _stem(path).lower()


def _is_model(path: str) -> bool:
    """Return False for projectors, draft models, and the imatrix of a quantizer, whose name has no quantization."""
    stem = _stem(path)
    if _is_projector(path) or any(draft in stem for draft in _DRAFTS):
        return False
    return "imatrix" not in stem.lower() or _QUANTIZATION.search(stem) is not None


def _projector(path: str, projectors: Sequence[str]) -> str | None:
    """Return the projector of a model: in its own folder if possible, then the most precise that runs anywhere."""
    folder = PurePosixPath(path).parent

    def rank(projector: str) -> tuple[bool, int, bool, str]:
        place = _place(_quantization(projector), _BEST_PROJECTOR_FIRST)
        return (PurePosixPath(projector).parent != folder, *place, projector)

    return min(projectors, key=rank, default=None)


def _place(quantization: str | None, order: Sequence[str]) -> tuple[int, bool]:
    """Return a sort key: the position in `order`, then what is not in it, then what has no quantization."""
    said = quantization or ""
    place = next((place for place, beginning in enumerate(order) if said.startswith(beginning)), len(order))
    return place, quantization is None


def _quantization(path: str) -> str | None:
    """Return the quantization in the file's name or, if none, in its folder's: `Q4_K_M`."""
    found = _QUANTIZATION.findall(_stem(path)) or _QUANTIZATION.findall(PurePosixPath(path).parent.name)
    return str(found[-1]).upper() if found else None


def _stem(path: str) -> str:
    return PurePosixPath(path).name[: -len(".gguf")]
