"""Which files of a repository are models, as such repositories name them."""

from collections.abc import Sequence

import pytest

from app.domain.gguf import Variant, tagged, variants


def _found(*paths: str) -> Sequence[Variant]:
    """The variants of files of 1, 2, 3 … bytes."""
    return variants((path, size) for size, path in enumerate(paths, 1))


@pytest.mark.parametrize(
    ("path", "quantization"),
    [
        ("tiny-Q4_K_M.gguf", "Q4_K_M"),
        ("tiny.q8_0.gguf", "Q8_0"),
        ("Tiny-UD-IQ2_XXS.GGUF", "IQ2_XXS"),
        ("tiny-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("gpt-oss-20b-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("tiny-BF16.gguf", "BF16"),
        ("tiny-f16.gguf", "F16"),
        ("tiny-F16-Q6_K.gguf", "Q6_K"),
        ("q5_k_m/tiny.gguf", "Q5_K_M"),
        ("Q5_K_M/tiny-Q4_0.gguf", "Q4_0"),
        ("BF16/tiny-BF16-00001-of-00001.gguf", "BF16"),
        ("tiny.gguf", None),
        ("tinyQ4x.gguf", None),
        ("m.imatrix.IQ3_XXS.gguf", "IQ3_XXS"),
    ],
)
def test_a_name_or_a_folder_tells_the_quantization(path: str, quantization: str | None) -> None:
    assert _found(path) == [Variant((path,), 1, quantization, None)]


def test_shards_are_one_model_with_the_size_of_all() -> None:
    (one,) = _found(*(f"Q4_K_M/m-Q4_K_M-0000{number}-of-00003.gguf" for number in (3, 1, 2)))
    assert one.paths == tuple(f"Q4_K_M/m-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3))
    assert (one.path, one.name, one.size) == (one.paths[0], "Q4_K_M/m-Q4_K_M", 6)


@pytest.mark.parametrize("numbers", [[2, 3], [1, 3], [1, 2], [0, 1, 2], [1, 2, 3, 4]])
def test_a_model_without_a_shard_is_none(numbers: list[int]) -> None:
    assert _found(*(f"m-Q8_0-0000{number}-of-00003.gguf" for number in numbers)) == []


def test_shards_of_two_models_are_kept_apart() -> None:
    names = [
        f"{name}-0000{number}-of-0000{count}.gguf"
        for name, count in (("a", 2), ("b", 2), ("a", 1))
        for number in (1, 2)
    ]
    assert [one.paths for one in _found(*names[:5])] == [(names[4],), (names[0], names[1]), (names[2], names[3])]


def test_what_is_no_model_is_none() -> None:
    others = ("README.md", "model.safetensors", "imatrix.gguf", "imatrix_unsloth.gguf", "Q8_0/imatrix.gguf")
    drafts = ("mtp-m-Q8_0.gguf", "m-mtp-BF16.gguf", "eagle3-m.gguf", "dflash-m.gguf", "dspark-m.gguf")
    assert _found(*others, *drafts, "mmproj-F16.gguf", "m-MMPROJ-f16.gguf", ".gguf.txt") == []


def test_the_best_default_is_first() -> None:
    best = ["Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_XS", "MXFP4", "Q5_K_M", "Q6_K", "Q8_0", "Q3_K_L", "BF16", "F16", "Q2_K"]
    names = [*(f"m-{quantization}.gguf" for quantization in (*best, "IQ1_S")), "m.gguf"]
    assert [one.path for one in _found(*sorted(names))] == names


def test_of_one_quantization_the_order_is_that_of_the_paths() -> None:
    assert [one.path for one in _found("b-Q4_0.gguf", "a-Q4_0.gguf")] == ["a-Q4_0.gguf", "b-Q4_0.gguf"]


@pytest.mark.parametrize(
    ("projectors", "chosen"),
    [
        (["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        (["mmproj-F32.gguf", "mmproj-Q8_0.gguf"], "mmproj-Q8_0.gguf"),
        (["mmproj.gguf", "mmproj-F32.gguf"], "mmproj-F32.gguf"),
        (["b/mmproj-F16.gguf", "a/mmproj-BF16.gguf"], "a/mmproj-BF16.gguf"),
        (["b/mmproj-F16.gguf"], "b/mmproj-F16.gguf"),
        (["a/m-mmproj-f16.gguf"], "a/m-mmproj-f16.gguf"),
        ([], None),
    ],
)
def test_a_projector_is_near_its_model_or_the_most_precise(projectors: list[str], chosen: str | None) -> None:
    (one,) = _found("a/m-Q4_K_M.gguf", *projectors)
    assert (one.projector, one.size) == (chosen, 1)


def test_a_folder_makes_no_projector() -> None:
    """As llama.cpp judges: by the file's own name."""
    (one,) = _found("mmproj/m-Q4_K_M.gguf")
    assert one.projector is None


_TWICE = ("m-Q4_K_M.gguf", "m-UD-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "m-IQ4_XS.gguf", "m-Q8_0.gguf")
_SHARDED = tuple(f"Q8_0/m-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2))
_TOLD_BY_FOLDER = ("Q4_K_M/m.gguf", "Q8_0/m.gguf", "bf16/m.gguf")
_WITH_SUFFIX = ("m-Q4_K_M-imat.gguf", "m-UD-Q4_K_M-imat.gguf", "m-Q8_0-imat.gguf")
_TWO_SIZES = ("m-1b-Q4_K_M.gguf", "m-1b-Q8_0.gguf", "m-7b-Q4_K_M.gguf", "m-7b-Q8_0.gguf", "m-Q4_K_M-lora.gguf")


@pytest.mark.parametrize(
    ("paths", "tag", "meant"),
    [
        # The best default, whatever there is.
        (_TWICE, "latest", ["m-Q4_K_M.gguf"]),
        (("m-Q8_0.gguf", "m-Q4_0.gguf"), "Latest", ["m-Q4_0.gguf"]),
        (("m.gguf",), "latest", ["m.gguf"]),
        ((), "latest", []),
        # A quantization, in any case of letters; not one that another's name ends with.
        (_TWICE, "Q8_0", ["m-Q8_0.gguf"]),
        (_TWICE, "q8_0", ["m-Q8_0.gguf"]),
        (_TWICE, "Q4_XS", []),
        (_TWICE, "Q4_K", []),
        (_TWICE, "Q6_K", []),
        # The common recipe, unless the other is asked for or the only one.
        (_TWICE, "Q4_K_M", ["m-Q4_K_M.gguf"]),
        (_TWICE, "UD-Q4_K_M", ["m-UD-Q4_K_M.gguf"]),
        (_TWICE, "ud-q4_k_xl", ["m-UD-Q4_K_XL.gguf"]),
        (_TWICE, "Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        (_TWICE, "UD-Q8_0", []),
        (("Cloud-Q4_K_M.gguf", "Cloud-UD-Q4_K_M.gguf"), "Q4_K_M", ["Cloud-Q4_K_M.gguf"]),
        (("Cloud-Q4_K_M-imat.gguf",), "UD-Q4_K_M", []),
        # A file's name, whole or without what all have.
        (_TWICE, "m-Q4_K_M.gguf", ["m-Q4_K_M.gguf"]),
        (_TWICE, "M-q4_k_m", ["m-Q4_K_M.gguf"]),
        (_TWICE, "m-UD-Q4_K_M.GGUF", ["m-UD-Q4_K_M.gguf"]),
        (("m.gguf", "m-m.gguf"), "m", ["m.gguf"]),
        (_SHARDED, "m-Q8_0", [_SHARDED[0]]),
        (_SHARDED, "m-Q8_0-00001-of-00002.gguf", [_SHARDED[0]]),
        # A path, so that files of one name are told apart.
        (_TOLD_BY_FOLDER, "Q8_0/m", ["Q8_0/m.gguf"]),
        (_TOLD_BY_FOLDER, "bf16/m.gguf", ["bf16/m.gguf"]),
        (_SHARDED, _SHARDED[0], [_SHARDED[0]]),
        (_SHARDED, "Q4_0/m-Q8_0-00001-of-00002.gguf", []),
        # What stands after a quantization, or for it.
        (_SHARDED, "Q8_0", [_SHARDED[0]]),
        (_TOLD_BY_FOLDER, "BF16", ["bf16/m.gguf"]),
        (_TOLD_BY_FOLDER, "q4_k_m", ["Q4_K_M/m.gguf"]),
        (_WITH_SUFFIX, "Q4_K_M", ["m-Q4_K_M-imat.gguf"]),
        (_WITH_SUFFIX, "UD-Q4_K_M", ["m-UD-Q4_K_M-imat.gguf"]),
        (_WITH_SUFFIX, "Q8_0-imat", ["m-Q8_0-imat.gguf"]),
        (_WITH_SUFFIX, "UD-Q8_0", []),
        # Several: a name that ends with the tag before others, the best default first.
        (_TWO_SIZES, "Q4_K_M", ["m-1b-Q4_K_M.gguf", "m-7b-Q4_K_M.gguf"]),
        (_TWO_SIZES, "7b-Q4_K_M", ["m-7b-Q4_K_M.gguf"]),
        (_TWO_SIZES, "7b", ["m-7b-Q4_K_M.gguf", "m-7b-Q8_0.gguf"]),
        (_TOLD_BY_FOLDER, "m", ["Q4_K_M/m.gguf", "Q8_0/m.gguf", "bf16/m.gguf"]),
        # It is no pattern.
        (_TWICE, "Q.*", []),
        (_TWICE, "", []),
    ],
)
def test_a_tag_means(paths: Sequence[str], tag: str, meant: Sequence[str]) -> None:
    assert tagged((one.path for one in _found(*paths)), tag) == meant


@pytest.mark.parametrize(
    ("paths", "tag"),
    [
        (["m-Q4_K_M.gguf"], "Q4_K_M"),
        (["m-UD-q4_k_m.gguf"], "UD-q4_k_m"),
        (["m-Q4_K_M-imat.gguf"], "Q4_K_M-imat"),
        (["m-F16-Q8_0.gguf"], "Q8_0"),
        (_SHARDED, "Q8_0"),
        (["Q4_K_M/m.gguf"], "Q4_K_M"),
        (["a/m.gguf"], "a/m"),
        (["m_Q8_0.gguf"], "Q8_0"),
        (["m_Q8_0-imat.gguf"], "m_Q8_0-imat"),
    ],
)
def test_a_model_has_a_tag_that_means_it(paths: Sequence[str], tag: str) -> None:
    (one,) = _found(*paths)
    assert one.tag == tag
    for exact in (tag, tag.upper(), one.name, one.path):
        assert tagged([one.path], exact) == [one.path]
        assert one.is_exactly(exact)


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("m-UD-Q4_K_M.gguf", "Q4_K_M"),
        ("m-Q4_K_M-imat.gguf", "Q4_K_M"),
        ("m-7b-Q4_K_M.gguf", "7b"),
        ("m-Q4_K_M.gguf", "latest"),
        ("Q4_K_M/m.gguf", "m"),
    ],
)
def test_a_tag_that_may_mean_another_model_of_the_repository_is_not_exact(path: str, tag: str) -> None:
    (one,) = _found(path)
    assert tagged([path], tag) == [path]
    assert not one.is_exactly(tag)
