"""Keys: which models a limit permits, and the two spellings of a key with its secret."""

import re

import pytest

from app.domain.errors import BadRequest
from app.domain.keys import MOST_PATTERNS, NameLimit, hub_token, limit_to, new_id, new_secret, split_token


def test_no_limit_permits_all_and_a_limit_what_matches_in_any_case() -> None:
    assert not NameLimit()
    assert NameLimit().permits("acme/chat")
    limit = limit_to(["meta-llama/*", "acme/Chat-?b"])
    assert limit
    for name in ("meta-llama/Llama-3.1-8B", "META-llama/x", "acme/chat-7b", "ACME/CHAT-7B"):
        assert limit.permits(name), name
    for name in ("meta-llama", "xmeta-llama/x", "meta-llamas/x", "acme/chat-70b", "acme/chat-7b ", ""):
        assert not limit.permits(name), name


def test_only_a_star_and_a_question_mark_are_wild() -> None:
    assert not limit_to(["acme/a.c"]).permits("acme/abc")
    assert not limit_to(["acme/a_c"]).permits("acme/abc")
    # Not even a letter whose lower case is one of ASCII's.
    assert not limit_to(["acme/k"]).permits("acme/\u212a")


@pytest.mark.parametrize(
    "pattern", ["", "acme", "*", "a/b/c", "/b", "a/", "a/b c", "a/[bc]", "a/%", "a/b\n", "a/" + "b" * 97]
)
def test_a_pattern_that_no_name_has_the_form_of_is_refused(pattern: str) -> None:
    with pytest.raises(BadRequest) as refused:
        limit_to([pattern])
    assert refused.value.field == "models"


def test_a_limit_has_each_pattern_once_and_not_too_many() -> None:
    assert limit_to(["b/*", "a/*", "b/*"]).patterns == ("b/*", "a/*")
    with pytest.raises(BadRequest):
        limit_to([f"a/{number}" for number in range(MOST_PATTERNS + 1)])


def test_a_key_has_a_second_spelling_that_every_client_of_the_hub_takes() -> None:
    key_id, secret = new_id(), new_secret()
    token = hub_token(key_id, secret)
    # llama.cpp takes from 37 to 256 letters and digits behind hf_.
    assert re.fullmatch(r"hf_[A-Za-z0-9]{37,253}", token)
    assert len(token) == 145
    assert split_token(token) == split_token(f"{key_id}:{secret}") == (key_id, secret)


@pytest.mark.parametrize(
    "token", ["", "hf_", "hf_aBcDeF" + "x" * 30, "hf_" + b"nothing".hex(), "EXOkey", "EXOkey:", ":secret"]
)
def test_what_is_neither_is_no_key(token: str) -> None:
    assert split_token(token) is None
