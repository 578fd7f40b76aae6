"""Which lines load a model, by its files as such repositories have them."""

import shlex

import pytest

from app.console.engines import by_name, to_serve

FOLDER = "/models/by-name/acme/a model"
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'
GGUF = {
    "one file": (["tiny-Q4_K_M.gguf"], [("llama.cpp", "tiny-Q4_K_M.gguf", None)]),
    "no quantization": (["model.gguf"], [("llama.cpp", "model.gguf", None)]),
    "a projector sorted first": (
        ["README.md", "mmproj-model-f16.gguf", "pixtral-12b-Q4_K_M.gguf"],
        [("llama.cpp", "pixtral-12b-Q4_K_M.gguf", "mmproj-model-f16.gguf")],
    ),
    "a projector called after the model": (
        ["moondream2-mmproj-f16.gguf", "moondream2-text-model-f16.gguf"],
        [("llama.cpp", "moondream2-text-model-f16.gguf", "moondream2-mmproj-f16.gguf")],
    ),
    "several projectors": (
        ["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf", "gemma-Q4_0.gguf"],
        [("llama.cpp", "gemma-Q4_0.gguf", "mmproj-F16.gguf")],
    ),
    "an imatrix and a split model in a folder": (
        ["imatrix_unsloth.gguf", "q4_k_m/model-00002-of-00002.gguf", "q4_k_m/model-00001-of-00002.gguf"],
        [("llama.cpp", "q4_k_m/model-00001-of-00002.gguf", None)],
    ),
    "a split model and its projector": (
        ["mmproj-model-f16.gguf", "qwen2.5-vl-Q8_0-00001-of-00002.gguf", "qwen2.5-vl-Q8_0-00002-of-00002.gguf"],
        [("llama.cpp", "qwen2.5-vl-Q8_0-00001-of-00002.gguf", "mmproj-model-f16.gguf")],
    ),
    "quantized by an imatrix": (["m.imatrix.IQ3_XXS.gguf"], [("llama.cpp", "m.imatrix.IQ3_XXS.gguf", None)]),
    "a projector for each of two folders": (
        ["a/mmproj-f16.gguf", "a/m-Q4_K_M.gguf", "b/mmproj-f16.gguf", "b/m-Q8_0.gguf"],
        [
            ("llama.cpp, Q4_K_M", "a/m-Q4_K_M.gguf", "a/mmproj-f16.gguf"),
            ("llama.cpp, Q8_0", "b/m-Q8_0.gguf", "b/mmproj-f16.gguf"),
        ],
    ),
    "a line for each quantization": (
        [f"m.{quant}.gguf" for quant in ("F16", "IQ1_S", "Q2_K", "Q4_K_M", "Q4_K_S", "Q5_K_M", "Q6_K", "Q8_0")],
        [
            (f"llama.cpp, {quant}", f"m.{quant}.gguf", None)
            for quant in ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "Q2_K", "IQ1_S")
        ],
    ),
    "two of one quantization": (
        ["large-Q4_K_M.gguf", "small-Q4_K_M.gguf", "small-UD-Q4_K_XL.gguf"],
        [
            ("llama.cpp, large-Q4_K_M", "large-Q4_K_M.gguf", None),
            ("llama.cpp, small-Q4_K_M", "small-Q4_K_M.gguf", None),
            ("llama.cpp, Q4_K_XL", "small-UD-Q4_K_XL.gguf", None),
        ],
    ),
    "no model at all": (["imatrix.gguf", "mmproj-F16.gguf", "model-Q8_0-00002-of-00003.gguf"], []),
}
VLLM: dict[str, tuple[list[str], bytes | None, bool]] = {
    "safetensors": (["config.json", "model.safetensors"], CONFIG, True),
    "split safetensors": (["config.json", "model-00001-of-00002.safetensors"], CONFIG, True),
    "an old one": (["config.json", "pytorch_model.bin"], CONFIG, True),
    "a config that can't be read now": (["config.json", "model.safetensors"], None, True),
    "beside a GGUF": (["config.json", "model.safetensors", "model-Q8_0.gguf"], CONFIG, True),
    "no config": (["model.safetensors"], None, False),
    "five hundred pieces of something": ([f"{number}.bin" for number in range(500)], None, False),
    "no weights": (["config.json", "tokenizer.json"], CONFIG, False),
    "a trainer's files only": (["config.json", "training_args.bin", "optimizer.bin"], CONFIG, False),
    "a part of a pipeline": (["model_index.json", "unet/config.json", "unet/model.safetensors"], CONFIG, False),
    "no architectures": (["config.json", "model.safetensors"], b'{"model_type": "x"}', False),
    "empty architectures": (["config.json", "model.safetensors"], b'{"architectures": []}', False),
    "a list": (["config.json", "model.safetensors"], b"[]", False),
    "no JSON": (["config.json", "model.safetensors"], b"\xff{", False),
    "JSON too deep": (["config.json", "model.safetensors"], b"[" * 100_000, False),
    "a GGUF only": (["config.json", "model-Q8_0.gguf"], CONFIG, False),
}


@pytest.mark.parametrize(("paths", "lines"), GGUF.values(), ids=GGUF)
def test_llama_cpp_is_given_the_model_and_what_belongs_to_it(
    paths: list[str], lines: list[tuple[str, str, str | None]]
) -> None:
    first, others = to_serve("acme/a model", FOLDER, sorted(paths), None)
    assert len(first) == min(len(lines), 1)
    told = [(line.title, shlex.split(line.text)) for line in (*first, *others)]
    expected = [
        (
            title,
            ["llama-server", "-m", f"{FOLDER}/{file}", *(["--mmproj", f"{FOLDER}/{projector}"] if projector else [])],
        )
        for title, file, projector in lines
    ]
    assert told == expected


@pytest.mark.parametrize(("paths", "config", "loadable"), VLLM.values(), ids=VLLM)
def test_vllm_is_offered_what_it_could_load(paths: list[str], config: bytes | None, *, loadable: bool) -> None:
    first, _ = to_serve("acme/a model", FOLDER, sorted(paths), config)
    lines = [shlex.split(line.text) for line in first if line.title == "vLLM"]
    assert lines == ([["vllm", "serve", FOLDER, "--served-model-name", "acme/a model"]] if loadable else [])


@pytest.mark.parametrize("endpoint", ["", "http://s3.example:9000"])
def test_engines_read_a_bucket_themselves(endpoint: str) -> None:
    location = "s3://bucket/models/acme/a@v1~0a/0f3c9a21"
    lines, others = to_serve("acme/a", location, ["config.json", "model.safetensors"], CONFIG, endpoint=endpoint)
    told = {line.title.partition(",")[0]: shlex.split(line.text) for line in lines}
    assert others == []
    assert told["vLLM"] == [
        *("vllm", "serve", location, "--load-format", "runai_streamer", "--served-model-name", "acme/a"),
    ]
    assert location in told["SGLang"]
    assert told["KServe"] == ["storageUri:", location]
    assert (f"AWS_ENDPOINT_URL={endpoint}" in told["On each host"]) == bool(endpoint)
    for paths in (["config.json", "pytorch_model.bin"], ["m-Q4_K_M.gguf"], ["config.json"]):
        assert to_serve("acme/a", location, paths, CONFIG) == ([], [])


@pytest.mark.parametrize(
    ("revision", "paths", "titles"),
    [
        ("main", ["config.json", "model.safetensors"], ["vLLM", "Transformers"]),
        ("v1", ["config.json", "model.safetensors"], ["vLLM", "Transformers"]),
        ("main", ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-F16.gguf"], ["llama.cpp", "Ollama"]),
        ("v1", ["m-Q4_K_M.gguf"], []),
        ("main", ["weights.npz"], []),
    ],
)
def test_hosts_without_the_storage_load_it_by_its_name(revision: str, paths: list[str], titles: list[str]) -> None:
    first, *lines = by_name("acme/a", revision, "http://depot:8080", sorted(paths), CONFIG)
    assert shlex.split(first.text)[:2] == ["export", "HF_ENDPOINT=http://depot:8080"]
    assert [line.title.partition(",")[0] for line in lines] == [*titles, "Its files"]
    words = [shlex.split(line.text) for line in lines]
    assert all(any("acme/a" in word for word in each) for each in words)
    assert all((revision in " ".join(each)) == (revision != "main") for each in words)
    told = {line.title.partition(",")[0]: shlex.split(line.text) for line in lines}
    if "Ollama" in titles:
        assert told["llama.cpp"] == ["llama-server", "-hf", "acme/a:Q4_K_M"]
        assert told["Ollama"] == ["ollama", "pull", "--insecure", "http://depot:8080/acme/a:Q4_K_M"]
