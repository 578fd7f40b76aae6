"""What answers for a name while models come, are there, and go: each answer is as new as its request."""

import hashlib
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import FileRow
from app.domain.keys import Role
from tests.api.test_auth import make_key
from tests.by_hand import Api, run
from tests.cli.test_storage_commands import rot, storage_command
from tests.conftest import StartDepot
from tests.fakehub.hub import Fault, Synthetic
from tests.hub_api.conftest import BERT, FILES, GGUF, Kept
from tests.processes import until
from tests.servers import PostgreSQL

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_CONFIG = f"/{BERT}/resolve/main/config.json"


def _told(kept: Kept, path: str) -> tuple[int, str | None, str]:
    answer = kept.get(path)
    return answer.status_code, answer.headers.get("x-error-code"), answer.json()["error"]


def test_a_model_answers_from_ready_to_the_accepted_delete(fresh: Kept) -> None:
    absent = (404, "RepoNotFound", f"the depot does not keep {BERT}: modeldepot pull {BERT}")
    assert _told(fresh, _CONFIG) == absent
    model_id = fresh.pull(BERT)
    for _ in range(2):
        assert fresh.get(_CONFIG).status_code == 200
        assert fresh.get(f"/api/models/{BERT}").status_code == 200
    assert fresh.depot.client.delete(f"/ai/model/{model_id}").status_code == 200
    assert _told(fresh, _CONFIG) == absent
    assert fresh.get("/api/models").json() == []


@SQLITE
def test_what_arrives_is_said_with_its_share(fresh: Kept) -> None:
    fresh.hub.add("acme/slow", {"a.bin": Synthetic(1 << 20, 1), "b.bin": Synthetic(1 << 20, 2)})
    fresh.hub.misbehave(Fault("stall", path="b.bin", after_bytes=0, times=None))
    operation = fresh.depot.create("acme/slow")
    path = "/acme/slow/resolve/main/a.bin"
    sentences = set[str]()

    def half() -> bool:
        status, code, sentence = _told(fresh, path)
        sentences.add(sentence)
        assert (status, code) == (404, "RepoNotFound")
        return ", 50 %" in sentence

    until(half, fresh.depot.logs)
    assert sentences <= {
        "acme/slow is arriving: try again in a minute.",
        *(f"acme/slow is arriving, {share} %: try again in a minute." for share in range(101)),
    }
    assert fresh.depot.client.delete(f"/ai/model/{operation['reference']['id']}").status_code == 200
    assert _told(fresh, path)[2].startswith("the depot does not keep acme/slow")


@SQLITE
def test_what_failed_is_said_with_its_reason(fresh: Kept) -> None:
    fresh.hub.add("acme/shut", {"a.bin": b"a"}, gated=True)
    assert fresh.depot.wait(fresh.depot.create("acme/shut")["id"])["state"] == "failure"
    status, code, sentence = _told(fresh, "/acme/shut/resolve/main/a.bin")
    assert (status, code) == (404, "RepoNotFound")
    assert sentence.startswith("acme/shut is not here: ")
    assert sentence.endswith("modeldepot pull acme/shut")
    assert "licence" in sentence or "token" in sentence


@SQLITE
def test_another_revision_is_said_by_those_that_are_kept(fresh: Kept) -> None:
    repo = fresh.hub.repos["models", BERT]
    first = repo.branches["main"]
    repo.tag("v1", first)
    fresh.pull(BERT, revision="v1")
    repo.commit({"config.json": b"{}"})
    fresh.pull(BERT)
    assert fresh.get(f"/api/models/{BERT}").json()["sha"] == fresh.commit(BERT) != first
    for revision in ("v1", first):
        assert fresh.get(f"/{BERT}/resolve/{revision}/config.json").content == b'{"model_type": "bert"}'
    branches = fresh.get(f"/api/models/{BERT}/refs").json()["branches"]
    assert [(one["name"], one["targetCommit"]) for one in branches] == [("main", fresh.commit(BERT)), ("v1", first)]
    sentence = f"the depot keeps {BERT} at main, v1, not at v2: modeldepot pull {BERT} --revision v2"
    assert _told(fresh, f"/{BERT}/resolve/v2/config.json") == (404, "RevisionNotFound", sentence)


@SQLITE
def test_a_file_that_is_being_sent_goes_on_to_its_end_when_its_model_is_deleted(fresh: Kept) -> None:
    content = Synthetic(64 << 20, 7)
    fresh.hub.add("acme/large", {"a.bin": content})
    model_id = fresh.pull("acme/large")
    address = fresh.depot.address("/acme/large/resolve/main/a.bin")
    with httpx2.stream("GET", address, headers=fresh.credentials) as answer:
        blocks = answer.iter_bytes(1 << 20)
        digest = hashlib.sha256(next(blocks))
        fresh.remove(model_id)
        assert not (fresh.depot.storage / "models" / model_id).exists()
        assert fresh.get("/acme/large/resolve/main/a.bin").status_code == 404
        for block in blocks:
            digest.update(block)
    assert digest.hexdigest() == content.sha256


@SQLITE
def test_an_older_row_without_a_blob_id_answers_by_its_sha256(fresh: Kept) -> None:
    model_id = fresh.pull(BERT)
    run(fresh.depot.environment["DEPOT_DATABASE_URL"], _forget_blob_ids)
    answer = fresh.get(_CONFIG)
    content = FILES[BERT]["config.json"]
    assert isinstance(content, bytes)
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    listed = {one["path"]: one for one in fresh.get(f"/api/models/{BERT}/tree/main").json()}
    assert listed["config.json"]["lfs"]["oid"] == hashlib.sha256(content).hexdigest()
    assert fresh.depot.model(model_id)["status"] == "ready"


@SQLITE
def test_what_a_repair_records_is_answered_at_once(fresh: Kept) -> None:
    model_id = fresh.pull(BERT)
    run(fresh.depot.environment["DEPOT_DATABASE_URL"], _forget_blob_ids)
    content = FILES[BERT]["config.json"]
    assert isinstance(content, bytes)
    assert fresh.get(_CONFIG).headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    before = fresh.depot.model(model_id)
    rot(fresh.depot.storage / "models" / model_id / "vocab.txt")
    repair = storage_command(fresh.depot, "verify", "--repair", model_id)
    assert fresh.depot.wait(repair.stdout.split()[-1])["state"] == "success"
    git_id = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    assert fresh.get(_CONFIG).headers["etag"] == f'"{git_id}"'
    assert fresh.depot.model(model_id)["updated-at"] > before["updated-at"]


@SQLITE
def test_a_depot_feeds_another_one(fresh: Kept, start_depot: StartDepot, postgresql: PostgreSQL) -> None:
    """The second one's downloads are a client of the first: it fetches, verifies and serves the same bytes."""
    fresh.pull(GGUF)
    fresh.pull(BERT, include=["onnx/*"])
    # The two have the same operator, whose key the second one takes for its own.
    key = make_key(Api(fresh.depot, fresh.depot.environment["DEPOT_DATABASE_URL"]), Role.READER)
    address, token = fresh.depot.address(""), ":".join(key)
    second = Kept(start_depot(hub_endpoint=address, database_url=postgresql.migrated()), fresh.hub)
    fresh.hub.forget()
    first_id = second.pull(GGUF, huggingface_token=token)
    part_id = second.pull(BERT, huggingface_token=token)
    assert fresh.hub.requests == []
    for name, model_id in ((GGUF, first_id), (BERT, part_id)):
        of_first, of_second = (kept.get(f"/api/models/{name}?blobs=true").json() for kept in (fresh, second))
        assert of_first["sha"] == of_second["sha"] == second.depot.model(model_id)["commit"]
        assert of_first["siblings"] == of_second["siblings"]
        for path in (sibling["rfilename"] for sibling in of_first["siblings"]):
            copies = [_file(kept, name, path) for kept in (fresh, second)]
            assert copies[0] == copies[1]
    assert [path.name for path in _below(second, part_id)] == sorted(
        path.partition("/")[2] for path in FILES[BERT] if path.startswith("onnx/")
    )
    # What the first one does not keep is said in its own words.
    operation = second.depot.wait(second.depot.create("no/such", huggingface_token=token)["id"])
    assert (operation["state"], operation["reason"]) == ("failure", "not-found")


def _file(kept: Kept, name: str, path: str) -> tuple[int, str, bytes]:
    answer = httpx2.get(
        httpx2.URL(kept.depot.address("/")).copy_with(path=f"/{name}/resolve/main/{path}"), headers=kept.credentials
    )
    return answer.status_code, answer.headers["etag"], answer.content


def _below(kept: Kept, model_id: str) -> list[Path]:
    return sorted(path for path in (kept.depot.storage / "models" / model_id).rglob("*") if path.is_file())


async def _forget_blob_ids(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(update(FileRow).values(blob_id=None))
