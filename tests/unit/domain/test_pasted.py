"""What people have on the clipboard, and what is meant by it."""

import re
from fnmatch import fnmatchcase

import pytest

from app.domain.errors import BadRequest
from app.domain.gguf import variants
from app.domain.pasted import Pasted, choose, include_of, paths_of, quantization_of, read


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("owner/name", Pasted("owner/name")),
        ("owner/name:Q4_K_M", Pasted("owner/name", tag="Q4_K_M")),
        ("all-MiniLM-L6-v2", Pasted("all-MiniLM-L6-v2")),
        ("gemma:Q8_0", Pasted("gemma", tag="Q8_0")),
        ("https://huggingface.co/owner/name", Pasted("owner/name")),
        (" https://huggingface.co/owner/name/ \n", Pasted("owner/name")),
        ("http://www.huggingface.co/owner/name", Pasted("owner/name")),
        ("HTTPS://HuggingFace.co/owner/name", Pasted("owner/name")),
        ("huggingface.co/owner/name", Pasted("owner/name")),
        ("hf.co/owner/name:Q4_K_M", Pasted("owner/name", tag="Q4_K_M")),
        ("https://hf.co/owner/name:UD-Q4_K_XL", Pasted("owner/name", tag="UD-Q4_K_XL")),
        ("https://huggingface.co/owner/name?library=transformers#use", Pasted("owner/name")),
        ("https://huggingface.co/owner/name/discussions/3", Pasted("owner/name")),
        ("https://huggingface.co/owner/name/tree", Pasted("owner/name")),
        ("https://huggingface.co/owner/name/tree/main", Pasted("owner/name", "main")),
        ("https://huggingface.co/owner/name/tree/v1.0/onnx/", Pasted("owner/name", "v1.0", ("onnx/*",))),
        ("https://huggingface.co/owner/name/tree/refs%2Fpr%2F12", Pasted("owner/name", "refs/pr/12")),
        ("https://huggingface.co/owner/name/tree/refs/pr/12/a", Pasted("owner/name", "refs/pr/12", ("a/*",))),
        ("https://huggingface.co/owner/name/tree/feature%2Fx", Pasted("owner/name", "feature/x")),
        ("hf.co/owner/name/blob/main/a/b.gguf", Pasted("owner/name", "main", ("a/b.gguf",))),
        ("https://huggingface.co/owner/name/resolve/main/b.gguf?download=true", Pasted("owner/name", "main", ("b.gguf",))),
        ("https://huggingface.co/owner/name/blob/main/a%20%5B1%5D.bin", Pasted("owner/name", "main", ("a [[]1].bin",))),
        ("https://huggingface.co/owner/name/blob/main/a:b.bin", Pasted("owner/name", "main", ("a:b.bin",))),
        ("https://huggingface.co/owner/name/commit/" + "c" * 40, Pasted("owner/name")),
        ("owner/name@v1.0", Pasted("owner/name", "v1.0")),
        ("owner/name:Q8_0@refs/pr/1", Pasted("owner/name", "refs/pr/1", tag="Q8_0")),
        ("owner/name:Q8_0/m-Q8_0", Pasted("owner/name", tag="Q8_0/m-Q8_0")),
        ("name@v1.0", Pasted("name", "v1.0")),
        ("https://hf.co/owner/name@refs/pr/1", Pasted("owner/name", "refs/pr/1")),
        ("hf.co/owner/name:Q8_0@v1", Pasted("owner/name", "v1", tag="Q8_0")),
        ("https://huggingface.co/owner/name/tree/a@b", Pasted("owner/name", "a@b")),
        ("https://huggingface.co/owner/name.git", Pasted("owner/name")),
        ("git@hf.co:owner/name", Pasted("owner/name")),
        ("owner/name/", Pasted("owner/name")),
        ("owner/name.git", Pasted("owner/name")),
        ("owner/name.git:Q8_0@v1", Pasted("owner/name", "v1", tag="Q8_0")),
        ("hf://owner/name", Pasted("owner/name")),
        ("hf://owner/name@v1/", Pasted("owner/name", "v1")),
        ("https://hf.co/owner/name/tree/v1/", Pasted("owner/name", "v1")),
        ("git@huggingface.co:owner/name.git", Pasted("owner/name")),
        ("https://huggingface.co/owner/name?show_file_info=a%2Fb-Q8_0.gguf", Pasted("owner/name", include=("a/b-Q8_0.gguf",))),
        ("https://hf.co/owner/name/tree/v1?show_file_info=b.gguf&x=1", Pasted("owner/name", "v1", ("b.gguf",))),
        ("https://hf.co/owner/name?show_file_info=model.safetensors.index.json", Pasted("owner/name")),
        ("https://Mirror.example:8443/hub/owner/name/blob/main/b.gguf", Pasted("owner/name", "main", ("b.gguf",))),
        ("mirror.example:8443/hub/owner/name:Q8_0", Pasted("owner/name", tag="Q8_0")),
        ("git clone https://mirror.example:8443/hub/owner/name", Pasted("owner/name")),
    ],
)  # fmt: skip
def test_a_name_an_address_and_a_quantization_are_read(text: str, meant: Pasted) -> None:
    assert read(text, "https://mirror.example:8443/hub") == meant


@pytest.mark.parametrize("page", ["blob/main/", "resolve/main/", "tree/main?show_file_info="])
def test_a_shard_means_its_model(page: str) -> None:
    address = f"https://huggingface.co/owner/name/{page}a/m-Q8_0-00002-of-00003.gguf"
    meant = read(address)
    assert (meant.revision, meant.include, meant.tag) == ("main", (), "a/m-Q8_0-00001-of-00003.gguf")
    assert meant.note == (
        "a/m-Q8_0-00002-of-00003.gguf is one shard of a model: all 3 are meant, and its projector if it has one."
    )
    meant = read(address.replace("gguf", "safetensors"))
    files = ["a/m-Q8_0-00001-of-00003.safetensors", "a/m-Q8_0-00003-of-00003.safetensors", "a/config.json"]
    others = [
        "a/m-Q8_0-00001-of-00004.safetensors",
        "m-Q8_0-00001-of-00003.safetensors",
        "a/x.safetensors",
        "README.md",
    ]
    assert [path for path in files + others if any(fnmatchcase(path, one) for one in meant.include)] == files
    assert "with its configuration and tokenizer" in meant.note


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "owner/name:",
        "owner/name:a b",
        "owner/name/more",
        "owner--x/name",
        "https://huggingface.co/",
        "https://huggingface.co/owner",
        "https://huggingface.co/datasets/owner/name",
        "hf.co/spaces/owner/name",
        "https://github.com/owner/name",
        "https://huggingface.co.evil.example/owner/name",
        "https://user@evil.example/owner/name",
        "ftp://huggingface.co/owner/name",
        "owner/name@",
        "owner/name@v1:Q8_0",
        "https://huggingface.co/owner/name@",
        "https://huggingface.co/owner/name:",
        "https://mirror.example/owner/name",
        "git@github.com:owner/name",
        "https://[::1/owner/name",
        "https://huggingface.co/owner/name/tree/..%2Fx",
        "\x1b[31m/name",
    ],
)
def test_what_is_none_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(text)
    assert refused.value.field in {"name", "revision"}
    assert refused.value.message.isprintable()


def test_a_quantization_in_the_wrong_place_is_shown_in_the_right_one() -> None:
    for text in ("owner/name@v1:Q8_0", "hf.co/owner/name@v1:Q8_0"):
        with pytest.raises(BadRequest, match=re.escape("before the @: give 'owner/name:Q8_0@v1'")):
            read(text)


def test_a_repository_without_gguf_says_so() -> None:
    with pytest.raises(BadRequest, match=r"^The repository has no GGUF model\.$"):
        choose([], "Q4_K_M")


def test_a_token_that_was_pasted_is_not_repeated() -> None:
    with pytest.raises(BadRequest) as refused:
        read("owner/name --token hf_planted0token0of0the0paste")
    assert "planted" not in refused.value.message


def test_the_patterns_of_a_variant_select_its_shards_and_its_projector_with_the_card_alone() -> None:
    shards = [f"Q4_K_M/a[1]-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    others = ["Q4_K_M/a[1]-Q4_K_M-00001-of-00002.gguf", "Q8_0/a[1]-Q8_0.gguf", "config.json"]
    beside = ["mmproj-F16.gguf", "README.md", "LICENSE", "LICENSE.txt"]
    paths = [*shards, *beside, *others]
    found = next(one for one in variants((path, 1) for path in paths) if one.quantization == "Q4_K_M")
    patterns = include_of(found)
    chosen = [path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)]
    assert chosen == [*shards, *beside]
    assert len(patterns) == 4
    assert paths_of(patterns) == [*shards, "mmproj-F16.gguf"]


@pytest.mark.parametrize(
    "patterns", [(), ("*Q4_K_M*.gguf",), ("a.gguf", "b?.gguf"), ("a-??-of-00002.gguf",), ("[ab].gguf",)]
)
def test_patterns_with_other_wildcards_name_no_paths(patterns: tuple[str, ...]) -> None:
    assert paths_of(patterns) is None


def test_a_model_in_one_file_is_selected_by_its_path() -> None:
    (found,) = variants([("m-Q8_0.gguf", 1)])
    assert list(include_of(found)) == ["m-Q8_0.gguf", "LICENSE*", "README.md"]


@pytest.mark.parametrize(
    ("patterns", "tag"),
    [
        (("LICENSE*", "README.md", "m-Q8_0.gguf", "mmproj-F16.gguf"), "Q8_0"),
        (("Q4_K_M/m-Q4_K_M-?????-of-00002.gguf",), "Q4_K_M"),
        (("*Q5_K_M*.gguf", "*Q6_K*.gguf"), "Q5_K_M,Q6_K"),
        (("*.safetensors", "*.json"), ""),
        ((), ""),
    ],
)
def test_patterns_tell_the_quantization_that_they_select(patterns: tuple[str, ...], tag: str) -> None:
    assert quantization_of(patterns) == tag
