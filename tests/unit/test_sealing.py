"""Sealing: what is sealed is opened only with its key, only for its row, and only if nobody changed it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sealing import CannotOpen, Sealer, new_key

ROW = "4b8f"


SEALER = Sealer([new_key()])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_is_opened(secret: str) -> None:
    assert SEALER.open(SEALER.seal(secret, belongs_to=ROW), belongs_to=ROW) == secret


def test_the_secret_cannot_be_read_off() -> None:
    sealed = Sealer([new_key()]).seal("hf_secret", belongs_to=ROW)
    assert "hf_secret" not in sealed
    assert b"hf_secret" not in base64.b64decode(sealed.rpartition(".")[2])


def test_the_same_secret_is_never_sealed_twice_alike() -> None:
    sealer = Sealer([new_key()])
    assert len({sealer.seal("hf_secret", belongs_to=ROW) for _ in range(100)}) == 100


def test_another_row_or_another_key_does_not_open_it() -> None:
    sealer = Sealer([new_key()])
    sealed = sealer.seal("hf_secret", belongs_to=ROW)
    with pytest.raises(CannotOpen, match="this row"):
        sealer.open(sealed, belongs_to="another")
    with pytest.raises(CannotOpen, match="key"):
        Sealer([new_key()]).open(sealed, belongs_to=ROW)


def test_a_changed_character_is_noticed_wherever_it_is() -> None:
    sealer = Sealer([new_key()])
    sealed = sealer.seal("hf_secret", belongs_to=ROW)
    box = sealed.rindex(".") + 1
    raw = bytearray(base64.b64decode(sealed[box:]))
    for place in range(len(raw)):
        raw[place] ^= 1
        with pytest.raises(CannotOpen):
            sealer.open(sealed[:box] + base64.b64encode(raw).decode(), belongs_to=ROW)
        raw[place] ^= 1


@given(st.text(max_size=60))
def test_what_was_never_sealed_is_not_opened(text: str) -> None:
    with pytest.raises(CannotOpen):
        SEALER.open(text, belongs_to=ROW)


def test_keys_are_replaced_one_after_the_other() -> None:
    old, new = new_key(), new_key()
    sealed = Sealer([old]).seal("hf_secret", belongs_to=ROW)
    both = Sealer([new, old])
    assert both.open(sealed, belongs_to=ROW) == "hf_secret"
    resealed = both.seal("hf_secret", belongs_to=ROW)
    assert Sealer([new]).open(resealed, belongs_to=ROW) == "hf_secret"
    with pytest.raises(CannotOpen):
        Sealer([old]).open(resealed, belongs_to=ROW)


@pytest.mark.parametrize("keys", [[], ["short"], [""], ["x" * 100], ["not base64 at all!"], [new_key(), "short"]])
def test_a_wrong_key_is_refused_and_not_shown(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="make one with") as refused:
        Sealer(keys)
    assert not [key for key in keys if key and key in str(refused.value)]
