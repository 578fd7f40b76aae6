"""The lifecycles: every state is written about, reachable and left again."""

from app.domain.commands import RESOURCE, Command
from app.domain.errors import Reason
from app.domain.states import COMES_FROM, ModelStatus, OperationState
from tests.api import contract


def test_the_words_are_the_contracts() -> None:
    assert [status.value for status in ModelStatus] == contract.MODEL["properties"]["status"]["enum"]
    assert [reason.value for reason in Reason] == contract.REASONS
    properties = contract.OPERATION["properties"]
    assert isinstance(properties, dict)
    assert [state.value for state in OperationState] == properties["state"]["enum"]


def test_every_state_of_a_model_can_be_reached_from_its_first() -> None:
    reached = {ModelStatus.CREATING}
    for _ in ModelStatus:
        reached |= {to for to, origins in COMES_FROM.items() if origins & reached}
    assert reached == set(ModelStatus)
    assert set(COMES_FROM) == set(ModelStatus)


def test_a_model_gets_ready_only_from_downloading() -> None:
    assert COMES_FROM[ModelStatus.READY] == {ModelStatus.DOWNLOADING}


def test_every_state_and_reason_is_explained() -> None:
    for kind in (ModelStatus, Reason):
        explained = {line.split()[0] for line in (kind.__doc__ or "").splitlines() if line.strip()}
        assert {member.value for member in kind} <= explained


def test_every_command_says_how_to_look_at_what_it_works_on() -> None:
    assert set(RESOURCE) == set(Command)
