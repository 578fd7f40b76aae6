"""What is told of repositories: one, its refs and commits, and a search for them."""

import re
from datetime import UTC, datetime

from tests.depot import KEY
from tests.hub_api.conftest import BERT, FILES, GGUF, Kept

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_repository_has_every_key_that_some_client_requires(kept: Kept) -> None:
    for path in ("", "/revision/main", f"/revision/{kept.commit(BERT)}", "/revision/HEAD"):
        told = kept.get(f"/api/models/{BERT}{path}").json()
        assert (told["id"], told["modelId"], told["author"]) == (BERT, BERT, "acme")
        assert told["sha"] == kept.commit(BERT)
        assert (told["private"], told["gated"], told["disabled"]) == (False, False, False)
        assert (told["downloads"], told["likes"], told["tags"]) == (0, 0, [])
        assert re.fullmatch("[0-9a-f]{24}", told["_id"])
        assert _DATE.fullmatch(told["createdAt"])
        assert _DATE.fullmatch(told["lastModified"])
        age = datetime.now(UTC) - datetime.fromisoformat(told["lastModified"])
        assert 0 <= age.total_seconds() < 3600
        assert told["siblings"] == [{"rfilename": path} for path in sorted(FILES[BERT])]


def test_files_are_described_if_that_is_asked_for(kept: Kept) -> None:
    for yes in ("true", "True"):
        told = kept.get(f"/api/models/{BERT}?blobs={yes}&expand=sha").json()
        theirs = kept.hub.repos["models", BERT].commits[kept.commit(BERT)].entries
        for sibling in told["siblings"]:
            entry = theirs[sibling.pop("rfilename")]
            lfs = {"sha256": entry.content.sha256, "size": entry.content.size, "pointerSize": len(entry.pointer)}
            more = {"lfs": lfs} if entry.lfs else {}
            assert sibling == {"size": entry.content.size, "blobId": entry.oid} | more


def test_refs_and_commits_name_the_commit_that_is_kept(kept: Kept) -> None:
    commit = kept.commit(GGUF)
    assert kept.get(f"/api/models/{GGUF}/refs").json() == {
        "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}],
        "tags": [],
        "converts": [],
        "pullRequests": [],
    }
    (one,) = kept.get(f"/api/models/{GGUF}/commits/main").json()
    assert (one["id"], one["message"], one["authors"]) == (commit, "", [])
    assert _DATE.fullmatch(one["date"])


def test_a_search_finds_ready_models_by_name_and_owner(kept: Kept) -> None:
    def found(query: str) -> list[str]:
        return [one["id"] for one in kept.get(f"/api/models{query}").json()]

    assert found("") == found("?search=TINY&sort=trendingScore&direction=-1&full=True&cursor=x") == sorted([GGUF, BERT])
    assert found("?search=bert&filter=gguf&expand=siblings") == [BERT]
    assert found("?author=acme&limit=1") == [GGUF]
    assert found("?author=acm") == found("?search=%25") == found("?search=a%00b") == found("?limit=0") == []
    assert found("?limit=nonsense") == found("?limit=99999999999999999999")
    (told,) = kept.get("/api/models?search=bert").json()
    assert told["sha"] == kept.commit(BERT)
    assert told["_id"]


def test_the_caller_is_told_by_its_key_s_name(kept: Kept) -> None:
    told = kept.get("/api/whoami-v2").json()
    assert told["auth"]["accessToken"]["role"] == "read"
    assert told["name"]
    assert KEY not in told["id"]
