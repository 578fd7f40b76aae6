"""Command lines that start an engine on a ready model, chosen by its files."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from app.console.command_lines import Line
from app.domain import gguf
from app.storage.locations import is_bucket

CONFIG = "config.json"
ENDINGS = (".gguf", ".safetensors", ".bin", CONFIG)
"""Endings of the files that the lines depend on."""
# Files left by trainers that vLLM skips.
_NO_WEIGHTS = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})


def to_serve(
    name: str, folder: str, paths: Sequence[str], config: bytes | None, *, endpoint: str = ""
) -> tuple[list[Line], list[Line]]:
    """Return (one line per engine for a model with files at `paths` in `folder`, lines for other quantizations).

    `config` is the content of its config.json, `None` if that can't be read. `endpoint`: of the object store, if the
    folder is `s3://…` in one that is not AWS's.
    """
    if is_bucket(folder):
        return _from_bucket(name, folder, paths, config, endpoint), []
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
    variants = _gguf(paths)
    if main and variants and (quant := variants[0].quantization):
        lines.append(Line("llama.cpp, by name", shlex.join(["llama-server", "-hf", f"{name}:{quant}"])))
        place, insecure = address.removeprefix("https://"), ["--insecure"] if address.startswith("http:") else []
        command = shlex.join(["ollama", "pull", *insecure, f"{place}/{name}:{quant}"])
        lines.append(Line("Ollama, by name, where pulling needs no key", command))
    return [*lines, Line("Its files, by name", shlex.join(["hf", "download", name, *at]))]


def _from_bucket(name: str, location: str, paths: Sequence[str], config: bytes | None, endpoint: str) -> list[Line]:
    """Return the lines for engines that read a bucket themselves: of Transformers models in safetensors."""
    if not _suits_vllm(paths, config) or not any("/" not in path and path.endswith(".safetensors") for path in paths):
        return []
    # What the streamer of these engines needs to know of a server that is not AWS's.
    own = (
        [f"AWS_ENDPOINT_URL={shlex.quote(endpoint)}", "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING=0"] if endpoint else []
    )
    host = ["export", *own, "AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=…", "AWS_SECRET_ACCESS_KEY=…"]
    serve = ["vllm", "serve", location, "--load-format", "runai_streamer", "--served-model-name", name]
    launch = ["python", "-m", "sglang.launch_server", "--model-path", location, "--served-model-name", name]
    return [
        Line("On each host, with a key that may read the bucket", " ".join(host)),
        Line("vLLM, from the bucket", shlex.join(serve)),
        Line("SGLang, from the bucket", shlex.join([*launch, "--load-format", "runai_streamer"])),
        Line("KServe, in an InferenceService", f"storageUri: {json.dumps(location)}"),
    ]


def _for_llama_cpp(folder: str, paths: Iterable[str]) -> list[Line]:
    """Return a line per quantization, the best default first."""
    variants = _gguf(paths)
    times = Counter(variant.quantization for variant in variants)
    lines = []
    for variant in variants:
        quant = variant.quantization
        which = quant if quant and times[quant] == 1 else variant.name
        words = ["llama-server", "-m", f"{folder}/{variant.path}"]
        if variant.projector:
            words += ["--mmproj", f"{folder}/{variant.projector}"]
        lines.append(Line(f"llama.cpp, {which}" if len(variants) > 1 else "llama.cpp", shlex.join(words)))
    return lines


def _gguf(paths: Iterable[str]) -> Sequence[gguf.Variant]:
    return gguf.variants((path, 0) for path in paths)  # no line depends on a size


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
