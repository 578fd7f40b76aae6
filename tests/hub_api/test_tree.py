"""The lists of files and folders, in the shapes that clients parse."""

import hashlib
from typing import Any
from uuid import UUID

import pytest

from app.db.session import Database
from app.services import files
from tests.by_hand import run
from tests.hub_api.conftest import BERT, FILES, GGUF, ODD, WEIGHTS, Kept


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _listed(kept: Kept, path: str, **query: str) -> list[dict[str, Any]]:
    answer = kept.ask("GET", f"/api/models/{path}", params=query)
    assert answer.status_code == 200
    assert "link" not in answer.headers
    entries: list[dict[str, Any]] = answer.json()
    return entries


@pytest.mark.parametrize("yes", ["true", "True"])
def test_all_of_it_is_on_one_page_as_the_hub_has_it(kept: Kept, yes: str) -> None:
    """All but the ids of folders, which nobody compares, and the Hub's commits."""
    for name in FILES:
        theirs = kept.hub.repos["models", name].commits[kept.commit(name)]
        ours = _listed(kept, f"{name}/tree/main", recursive=yes, expand="false")
        assert [one["path"] for one in ours] == [entry.path for entry in theirs.tree]
        for one in ours:
            entry = theirs.entries.get(one["path"])
            if entry is None:
                assert (one["type"], one["size"], len(one["oid"])) == ("directory", 0, 40)
                continue
            assert (one["type"], one["size"], one["oid"]) == ("file", entry.content.size, entry.oid)
            lfs = {"oid": entry.content.sha256, "size": entry.content.size, "pointerSize": len(entry.pointer)}
            assert one.get("lfs") == (lfs if entry.lfs else None)
            assert "xetHash" not in one


def test_a_folder_lists_what_is_directly_in_it(kept: Kept) -> None:
    top = [(one["type"], one["path"]) for one in _listed(kept, f"{BERT}/tree/main")]
    assert top == [
        ("file", "config.json"),
        ("file", "model.safetensors"),
        ("directory", "onnx"),
        ("file", "vocab.txt"),
    ]
    assert [one["path"] for one in _listed(kept, f"{BERT}/tree/main/onnx", recursive="False")] == [
        "onnx/config.json",
        ODD,
    ]


@pytest.mark.parametrize("path", ["additional_chat_templates", "config.json", "onnx%2F..", "onn"])
def test_what_is_no_folder_is_no_entry(kept: Kept, path: str) -> None:
    answer = kept.get(f"/api/models/{BERT}/tree/main/{path}")
    assert (answer.status_code, answer.headers["x-error-code"]) == (404, "EntryNotFound")


def test_single_paths_are_described_whatever_form_asks(kept: Kept) -> None:
    asked = ["config.json", "model.safetensors", "onnx", ODD, "nope", "../config.json"]
    path = f"/api/models/{BERT}/paths-info/main"
    by_form = kept.ask("POST", path, data={"paths": asked, "expand": "false"})
    by_json = kept.ask("POST", path, json={"paths": asked, "expand": True})
    assert by_form.json() == by_json.json()
    plain, large, folder, odd = by_form.json()
    assert plain == {"type": "file", "path": "config.json", "size": 22, "oid": _git(b'{"model_type": "bert"}')}
    assert large["lfs"] == {"oid": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS), "pointerSize": 128}
    assert (folder["type"], folder["path"]) == ("directory", "onnx")
    assert odd["path"] == ODD


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"paths": 3}', b'{"paths": [1]}', b"\xff", b"[" * 100_000])
def test_a_body_that_names_no_path_describes_none(kept: Kept, body: bytes) -> None:
    path = f"/api/models/{GGUF}/paths-info/main"
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        answer = kept.ask("POST", path, content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()) == (200, [])


def test_a_long_list_comes_whole(fresh: Kept) -> None:
    model_id = fresh.pull(BERT)
    paths = [f"part-{number // 100:02}/{number:04}.txt" for number in range(2500)]

    async def record(database: Database) -> None:
        async with database.begin() as connection:
            await files.record(connection, UUID(model_id), [(path, 1, "d" * 64) for path in paths])

    run(fresh.depot.environment["DEPOT_DATABASE_URL"], record)
    listed = _listed(fresh, f"{BERT}/tree/main", recursive="true")
    assert [one["path"] for one in listed if one["type"] == "file"] == paths
    assert len([one for one in listed if one["type"] == "directory"]) == 25
