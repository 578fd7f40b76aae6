"""Hubs that lie, and folders that somebody else wrote to: never published, nothing outside the model's folder."""

from functools import cached_property
from pathlib import Path

import pytest

from tests.fakehub.content import Bytes
from tests.fakehub.hub import Fault, Hub, Repo, Synthetic
from tests.faults.conftest import NAME, contents, published
from tests.faults.engine import UNDER_WAY, Engine
from worker.download.protocol import Failure, Planned, Resolved, decode

MIB = 1 << 20


class Named(Bytes):
    """A content whose checksums are what somebody made up."""

    def __init__(self, data: bytes, said: str) -> None:
        super().__init__(data)
        self._said = said

    @cached_property
    def sha256(self) -> str:
        return self._said

    @cached_property
    def oid(self) -> str:
        return self._said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("model.safetensors", "../../../../../outside"),
        ("model.safetensors", "/tmp/outside"),
        ("model.safetensors", "A" * 64),
        ("notes.txt", "../../../../../outside"),
        ("notes.txt", ""),
    ],
)
def test_a_checksum_that_is_none_is_unsupported_and_is_never_taken_for_a_path(
    hub: Hub, tmp_path: Path, path: str, said: str
) -> None:
    hub.add(NAME, {path: Named(b"x" * (2 * MIB), said), "config.json": b"{}"}, lfs=["*.safetensors"])
    engine = Engine(hub, tmp_path / "storage", NAME)
    outcome = engine.run()
    assert outcome.reason == "unsupported", outcome.text
    assert path in outcome.text
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []
    assert engine.run(exclude=[path]).done


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("by", [-1, 100 * MIB])
def test_a_size_that_is_a_lie_is_never_published(hub: Hub, repo: Repo, engine: Engine, path: str, by: int) -> None:
    hub.misbehave(Fault("lie_size", path=path, by=by, times=None))
    outcome = engine.run()
    assert outcome.reason in {"partial", "unsupported"}, outcome.text
    assert path in outcome.text
    assert not outcome.last(Failure).again
    assert not (engine.tree / path).exists()
    hub.behave()
    assert engine.run().done
    assert published(engine) == contents(repo)


@pytest.mark.parametrize("kind", ["long", "short"])
def test_a_body_of_another_length_is_never_published(hub: Hub, repo: Repo, engine: Engine, kind: str) -> None:
    hub.misbehave(*(Fault(kind, path=path, by=5000, times=None) for path in ("second.safetensors", "folder/*")))  # type: ignore[arg-type]
    outcome = engine.run()
    assert outcome.reason in {"partial", "unavailable"}, outcome.text
    assert not (engine.tree / "second.safetensors").exists()
    hub.behave()
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)


def test_two_names_of_one_rotten_file_are_put_right_at_the_cost_of_one(hub: Hub, tmp_path: Path) -> None:
    repo = hub.add(NAME, {name: Synthetic(9 * MIB, 3) for name in ("a.bin", "b.bin")} | {"config.json": b"{}"})
    engine = Engine(hub, tmp_path / "storage", NAME)
    assert engine.run().done
    tree = engine.tree
    assert (tree / "a.bin").samefile(tree / "b.bin")
    (tree / "a.bin").chmod(0o644)
    with (tree / "a.bin").open("r+b") as file:
        file.write(b"rotten")
    hub.forget()
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert 0 <= hub.bytes_sent() - 9 * MIB <= UNDER_WAY
    assert published(engine) == contents(repo)


def test_a_rotten_file_is_put_right_without_writing_through_its_link_to_another_model(
    hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """Even if what the link leads to is what rotted: that is for `storage verify` to find."""
    first = Engine(hub, tmp_path / "storage", NAME)
    assert first.run().done
    folder = first.publish()
    model = folder / "second.safetensors"
    model.chmod(0o644)
    with model.open("r+b") as file:
        file.write(b"rotten")
    rotten = model.read_bytes()
    second = Engine(hub, tmp_path / "storage", NAME)
    entries = repo.commits[repo.branches["main"]].entries
    second.links = {entry.content.sha256: str(folder / path) for path, entry in entries.items() if entry.lfs}
    hub.forget()
    assert second.run().done
    assert published(second) == contents(repo)
    assert hub.bytes_sent("model.safetensors") == 0
    assert model.read_bytes() == rotten


def test_a_link_that_is_gone_by_then_is_fetched(repo: Repo, engine: Engine) -> None:
    entries = repo.commits[repo.branches["main"]].entries
    engine.links = {entry.content.sha256: "/nowhere/gone" for entry in entries.values() if entry.lfs}
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_repository_that_becomes_private_meanwhile_gives_nothing(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.account("hf_owner", may_read=[NAME])
    hub.misbehave(Fault("status", path="config.json", status=500, times=None))
    assert engine.run().reason == "unavailable"
    hub.behave()
    repo.private = True
    before = sorted(path for path in engine.storage.layout.root.rglob("*") if path.is_file())
    assert engine.run().reason == "not-found"
    assert engine.run(token="hf_wrong").reason == "forbidden"
    assert sorted(path for path in engine.storage.layout.root.rglob("*") if path.is_file()) == before
    assert engine.run(token="hf_owner").done
    assert published(engine) == contents(repo)


def test_a_file_that_may_not_grow_is_a_fault_and_what_arrived_is_used_later(repo: Repo, engine: Engine) -> None:
    """By RLIMIT_FSIZE, which needs no privilege: what a quota does to a single file."""
    engine.max_file_size = 16 * MIB
    outcome = engine.run()
    assert (outcome.reason, outcome.last(Failure).again) == ("fault", False)
    assert "operator" in outcome.text
    largest = max(path.stat().st_size for path in engine.storage.layout.root.rglob("*") if path.is_file())
    assert largest <= 16 * MIB
    engine.max_file_size = None
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_nothing_is_written_before_the_worker_says_that_there_is_room(hub: Hub, repo: Repo, engine: Engine) -> None:
    with engine.start() as attempting:
        resolved = attempting.outcome(lambda message: isinstance(message, Resolved)).last(Resolved)
        assert resolved.total == sum(map(len, contents(repo).values()))
        assert attempting.process.stdout
        planned = decode(attempting.process.stdout.readline())
    assert isinstance(planned, Planned)
    assert planned.missing == resolved.total
    assert [path for path in engine.storage.layout.root.rglob("*") if path.is_file()] == []
    assert hub.bytes_sent() == 0
