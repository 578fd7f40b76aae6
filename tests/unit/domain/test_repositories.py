"""Names, revisions and patterns: what the Hub would refuse is refused at once; equal selections are equal."""

import string

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import BadRequest
from app.domain.repositories import check_name, check_revision, select

_CHARACTERS = st.sampled_from(string.ascii_letters + string.digits + "-_./ \n\t\0é模:\\%")


@given(st.text(_CHARACTERS, max_size=30).map(lambda text: f"a{text}"), st.text(_CHARACTERS, max_size=110))
@example("a" * 96, "b" * 96)
@example("a" * 97, "b")
@example("a", "b" * 97)
@example("..", "x")
@example("a", "..")
@example("a", "b.git")
@example("a--b", "c")
@example("a", "b\n")
@example("_a", "b_")
def test_a_name_is_accepted_as_the_hubs_own_client_does(owner: str, name: str) -> None:
    full = f"{owner}/{name}"
    if _accepted(full):
        # The real client accepts whatever we do. What only we refuse is longer than the Hub's own limit, if anything.
        validate_repo_id(full)
    elif len(full) <= 96:
        with pytest.raises(HFValidationError):
            validate_repo_id(full)


@pytest.mark.parametrize(
    "name", ["mistralai/Mistral-7B-v0.3", "a/b", "01-ai/Yi-6B", "TheBloke/x_y.z-GGUF", "sentence-transformers/a"]
)
def test_real_names_are_accepted(name: str) -> None:
    check_name(name)
    validate_repo_id(name)


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/b", "gpt2", "a/b/c", "../x", "a/..", "~/x", "a b/c", "a/b.git", "datasets/a/b"]
)
def test_other_names_are_refused_with_an_example(name: str) -> None:
    with pytest.raises(BadRequest, match="'name'") as refused:
        check_name(name)
    assert refused.value.field == "name"


@pytest.mark.parametrize(
    "revision",
    [
        "main",
        "v1.0",
        "refs/pr/1",
        "feature/x",
        "a" * 40,
        "a" * 250,
        "release-2024.01",
        "gptq-4bit-32g-actorder_True",
        "é",
    ],
)
def test_revisions_that_git_takes_are_accepted(revision: str) -> None:
    check_revision(revision)


@pytest.mark.parametrize(
    "revision",
    [
        "",
        " ",
        "a b",
        "a..b",
        "../a",
        "/a",
        "a/",
        "a//b",
        "-a",
        "a.lock",
        "a/.b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "a\0",
        "a\n",
        "@",
        "a@{1}",
        "a" * 251,
        "\x7f",
        "\ud800",
    ],
)
def test_revisions_that_git_refuses_are_refused(revision: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_revision(revision)
    assert refused.value.field == "revision"


@given(st.lists(st.sampled_from(["*.gguf", "a.json", "b/*", "[x]"]), max_size=8), st.randoms(use_true_random=False))
def test_the_order_and_number_of_patterns_make_no_difference(patterns: list[str], random: object) -> None:
    shuffled = patterns * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = select("a/b", "main", patterns, ()), select("a/b", "main", shuffled, ())
    assert one == two
    assert one.fingerprint == two.fingerprint


def test_what_differs_in_anything_has_another_fingerprint() -> None:
    selections = [
        select("a/b", "main", (), ()),
        select("A/b", "main", (), ()),
        select("a/b", "Main", (), ()),
        select("a/b", "main", ("x",), ()),
        select("a/b", "main", (), ("x",)),
        select("a/b", "main", ("x", "y"), ()),
        select("a/b", "main", ("xy",), ()),
        select("a/b", "main", ("x",), ("y",)),
    ]
    assert len({selection.fingerprint for selection in selections}) == len(selections)


@pytest.mark.parametrize("field", ["include", "exclude"])
@pytest.mark.parametrize("patterns", [[""], ["*"], ["**"], ["a\n"], ["a\0"], ["\ud800"], ["x" * 501], ["x"] * 101])
def test_patterns_that_mean_nothing_are_refused(field: str, patterns: list[str]) -> None:
    with pytest.raises(BadRequest) as refused:
        select("a/b", "main", *((patterns, ()) if field == "include" else ((), patterns)))
    assert refused.value.field == field


def _accepted(name: str) -> bool:
    try:
        check_name(name)
    except BadRequest:
        return False
    return True
