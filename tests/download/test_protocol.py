"""What a worker and a download's process say to each other arrives as it was said."""

from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

import pytest

from app.domain.errors import Failed, NotYet, Reason, TryAgain
from app.storage.locations import S3Options
from worker.download import protocol
from worker.download.protocol import Content, Failure, Message, PlannedFile

_REQUEST: dict[str, Any] = {
    "name": "acme/model",
    "revision": "main",
    "token": "hf_secret",
    "endpoint": "https://hub",
    "redirects_inside": False,
    "lease": 30.0,
    "stall_window": 30.0,
    "stall_rate": 1024.0,
}
_SAID: list[Message] = [
    protocol.LookupRequest(**_REQUEST),
    protocol.PlanRequest(**_REQUEST, include=["*.json"], exclude=[]),
    protocol.SearchRequest(**_REQUEST | {"name": "", "revision": ""}, words="tiny gguf", limit=20),
    protocol.DownloadRequest(
        **_REQUEST,
        model_id=uuid4(),
        label=PurePosixPath("acme", "tiny"),
        operation_id=uuid4(),
        fence=3,
        mends=True,
        commit="c" * 40,
        include=["*.json"],
        exclude=[],
        storage="/models",
        connections=8,
        backoff=0.5,
        xet="auto",
        fetcher="own",
        s3=S3Options("https://store", access_key="key", secret_key="s3-secret"),
        memory=64 << 20,
    ),
    protocol.Located({"a" * 64: ["/models/one", "/models/two"]}, ["b" * 64]),
    protocol.Go(),
    protocol.PassOn(["a" * 64]),
    protocol.Bandwidth(1 << 20),
    protocol.Found("c" * 40),
    protocol.Described({"name": "acme/model", "gated": None}, [PlannedFile("ä.json", 2, None)], may_read=True),
    protocol.Matches([{"name": "acme/model"}]),
    protocol.Resolved("c" * 40, 12, 2, [Content("a" * 64, 10, "gewöhnlich\n.json")]),
    protocol.Planned(12, ["a" * 64]),
    protocol.Progress(7, 3, [["a b.json", 10, 7]]),
    protocol.Verified("a b.json", 2, "a" * 64, "b" * 40),
    protocol.PassedOn(["a" * 64]),
    protocol.Waiting(["a" * 64], 2),
    protocol.Done(),
    protocol.Failure(Reason.BUSY, "The Hub limits the rate.", again=True, waits=False, after=3.0),
    protocol.Crash("a bug"),
]


def test_all_kinds_are_tried() -> None:
    kinds = {kind for kind in vars(protocol).values() if isinstance(kind, type) and issubclass(kind, Message)}
    assert {type(message) for message in _SAID} == kinds - {Message, protocol.Request}


@pytest.mark.parametrize("message", _SAID, ids=lambda message: type(message).__name__)
def test_a_message_is_one_line_and_comes_back_as_it_was(message: Message) -> None:
    line = protocol.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert protocol.decode(line) == message


@pytest.mark.parametrize(
    "error",
    [
        Failed(Reason.FORBIDDEN, "Accept the licence."),
        TryAgain(Reason.BUSY, "The Hub limits the rate.", after=3.0),
        NotYet(Reason.BUSY, "It waits."),
    ],
)
def test_a_failure_is_the_error_that_it_was_made_of(error: Failed | TryAgain) -> None:
    again = Failure.of(error).error()
    assert type(again) is type(error)
    assert (again.reason, again.message) == (error.reason, error.message)
    assert getattr(again, "after", None) == getattr(error, "after", None)


@pytest.mark.parametrize("secret", ["hf_secret", "s3-secret"])
def test_a_request_does_not_show_its_secrets(secret: str) -> None:
    assert not [message for message in _SAID if secret in repr(message)]
