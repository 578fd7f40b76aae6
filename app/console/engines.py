"""Command lines that start an engine on a ready model, chosen by its files."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from app.console.command_lines import Line

CONFIG = "config.json"
ENDINGS = (".gguf", ".safetensors", ".bin", CONFIG)
"""Endings of the files that the lines depend on."""
_QUANT = re.compile(
    r"(?<![A-Z0-9])(?:UD-)?((?:IQ\d|TQ\d|Q\d)(?:_[A-Z0-9]+)*|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)(?![A-Z0-9])",
    re.IGNORECASE,
)
_SHARD = re.compile(r"-(\d{5})-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
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
# Files left by trainers that vLLM skips.
_NO_WEIGHTS = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})


def to_serve(name: str, folder: str, paths: Sequence[str], config: bytes | None) -> tuple[list[Line], list[Line]]:
    """Return (one line per engine for a model with files at `paths` in `folder`, lines for other quantizations).

    `config` is the content of its config.json, `None` if that can't be read.
    """
    for_llama_cpp = _for_llama_cpp(folder, paths)
    lines = for_llama_cpp[:1]
    if _suits_vllm(paths, config):
        lines.insert(0, Line("vLLM", shlex.join(["vllm", "serve", folder, "--served-model-name", name])))
    return lines, for_llama_cpp[1:]


def by_name(name: str, revision: str, address: str, paths: Sequence[str], config: bytes | None) -> list[Line]:
    """Return the lines that fetch or load the model on another host, from the depot at `address`, by its name.

    The first one is for all others: it says where the depot is.
    """
    main = revision == "main"
    at = [] if main else ["--revision", revision]
    lines = [Line("On each host", f"export HF_ENDPOINT={shlex.quote(address)} HF_TOKEN=hf_…")]
    if _suits_vllm(paths, config):
        loaded = json.dumps(name) + ("" if main else f", revision={json.dumps(revision)}")
        script = f"from transformers import AutoModel; AutoModel.from_pretrained({loaded})"
        lines.append(Line("vLLM, by name", shlex.join(["vllm", "serve", name, *at])))
        lines.append(Line("Transformers, by name", shlex.join(["python", "-c", script])))
    models, _ = _gguf(paths)
    if main and models and (quant := _quant(models[0])):
        lines.append(Line("llama.cpp, by name", shlex.join(["llama-server", "-hf", f"{name}:{quant}"])))
        place, insecure = address.removeprefix("https://"), ["--insecure"] if address.startswith("http:") else []
        command = shlex.join(["ollama", "pull", *insecure, f"{place}/{name}:{quant}"])
        lines.append(Line("Ollama, by name, where pulling needs no key", command))
    return [*lines, Line("Its files, by name", shlex.join(["hf", "download", name, *at]))]


def _for_llama_cpp(folder: str, paths: Iterable[str]) -> list[Line]:
    """Return a line per quantization, the best default first."""
    models, projectors = _gguf(paths)
    quants = Counter(_quant(path) for path in models)
    lines = []
    for path in models:
        quant = _quant(path)
        which = quant if quant and quants[quant] == 1 else _SHARD.sub("", path).removesuffix(".gguf")
        words = ["llama-server", "-m", f"{folder}/{path}"]
        if projectors:
            words += ["--mmproj", f"{folder}/{_projector(path, projectors)}"]
        lines.append(Line(f"llama.cpp, {which}" if len(models) > 1 else "llama.cpp", shlex.join(words)))
    return lines


def _gguf(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the GGUF models, the best default first, and the projectors."""
    gguf = [path for path in paths if path.lower().endswith(".gguf")]
    projectors = [path for path in gguf if "mmproj" in _stem(path).lower()]
    return sorted((path for path in gguf if path not in projectors and _is_model(path)), key=_rank), projectors


def _is_model(path: str) -> bool:
    """Return False for quantizers' imatrix files, and for all shards but the first, which loads the model."""
    shard, quant = _SHARD.search(path), _quant(path)
    return ("imatrix" not in _stem(path).lower() or quant is not None) and (shard is None or int(shard[1]) == 1)


def _rank(path: str) -> tuple[int, bool, str]:
    return (*_place(_quant(path), _BEST_FIRST), path)


def _projector(path: str, projectors: Sequence[str]) -> str:
    """Return the projector: in the model's own folder if possible, then the most precise that runs anywhere."""
    folder = PurePosixPath(path).parent

    def rank(projector: str) -> tuple[bool, int, bool, str]:
        return (PurePosixPath(projector).parent != folder, *_place(_quant(projector), _BEST_PROJECTOR_FIRST), projector)

    return min(projectors, key=rank)


def _place(quant: str | None, order: Sequence[str]) -> tuple[int, bool]:
    """Return a sort key: the position in `order`, then what is not in it, then what has no quantization."""
    place = next((place for place, beginning in enumerate(order) if (quant or "").startswith(beginning)), len(order))
    return place, quant is None


def _quant(path: str) -> str | None:
    """Return the quantization in the file's name or, if none, in its folder's: `Q4_K_M`."""
    found = _QUANT.findall(_stem(path)) or _QUANT.findall(PurePosixPath(path).parent.name)
    return str(found[-1]).upper() if found else None


def _stem(path: str) -> str:
    return PurePosixPath(path).name[: -len(".gguf")]


def _suits_vllm(paths: Iterable[str], config: bytes | None) -> bool:
    """Return whether the folder's top holds a Transformers model that names the class to load it."""
    top = {path for path in paths if "/" not in path}
    return CONFIG in top and any(map(_is_weights, top)) and (config is None or _names_architectures(config))


def _is_weights(path: str) -> bool:
    return path.endswith((".safetensors", ".bin")) and path not in _NO_WEIGHTS


def _names_architectures(config: bytes) -> bool:
    try:
        read = json.loads(config)
    except (ValueError, RecursionError):
        return False
    found = read.get("architectures") if isinstance(read, dict) else None
    return isinstance(found, list) and bool(found) and all(isinstance(one, str) for one in found)
