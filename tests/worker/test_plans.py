"""What a plan says is what then arrives, byte for byte, for each kind of repository; and what it tells of it."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.domain.repositories import CARD
from tests.api import contract
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Files, Hub, Synthetic
from tests.fakehub.weights import Values, gguf, safetensors
from tests.processes import until
from tests.servers import Redis

TOKEN = "hf_planted0token0of0the0plans"
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 4096}
QUANTS = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS", "BF16")
VALUES: Values = {"general.architecture": "gemma3", "tokenizer.tokens": ["a", "b"], "gemma3.context_length": 32768}
FORBIDDEN = "hf_of0somebody0who0accepted0nothing"


@dataclass(frozen=True)
class Place:
    depot: Depot
    hub: Hub

    def ask(self, name: str, **keys: Any) -> httpx2.Response:
        body = {"name": name} | {key.replace("_", "-"): value for key, value in keys.items()}
        return self.depot.client.post("/ai/model/plan", json=body)

    def plan(self, name: str, **keys: Any) -> dict[str, Any]:
        answer = self.ask(name, **keys)
        assert answer.status_code == 200, answer.text + self.depot.logs()
        plan: dict[str, Any] = answer.json()
        contract.check(contract.PLAN, plan)
        return plan

    def refused(self, name: str, status: int, **keys: Any) -> str:
        answer = self.ask(name, **keys)
        assert answer.status_code == status, answer.text
        contract.check(contract.ERROR, answer.json())
        error: str = answer.json()["error"]
        return error

    def arrives_as_planned(self, name: str, **keys: Any) -> dict[str, Any]:
        """The plan, after what it says has arrived."""
        plan = self.plan(name, **keys)
        self.hub.forget()
        operation = self.depot.create(name, **keys)
        ended = self.depot.wait(operation["id"], 120)
        assert ended["state"] == "success", f"{ended} {self.depot.logs()}"
        model = self.depot.model(operation["reference"]["id"])
        files = self.depot.client.get(f"/ai/model/{model['id']}/files").json()["files"]
        listed = {file["path"]: file["size"] for file in plan["files"]}
        assert listed == {file["path"]: file["size"] for file in files}
        assert (plan["bytes-total"], plan["file-count"]) == (model["model-size"], len(files))
        assert plan["bytes-to-fetch"] == self.hub.bytes_sent()
        assert plan["bytes-here"] + plan["bytes-to-fetch"] == plan["bytes-total"]
        assert plan["commit"] == model["commit"]
        return plan


@pytest.fixture(scope="module")
def place(migrated_sqlite: Path, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("plans")
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    with Hub() as hub:
        database_url = f"sqlite:///{folder / 'depot.sqlite3'}"
        depot = Depot(folder, database_url=database_url, redis_url=redis_server.url, hub_endpoint=hub.endpoint)
        until(lambda: "worker is ready" in depot.logs(), depot.logs)
        yield Place(depot, hub)
        depot.close()
        assert "Traceback" not in depot.logs()
        assert TOKEN not in depot.logs()


def _sharded(hub: Hub) -> None:
    shards: Files = {
        f"model-{number:05}-of-00003.safetensors": safetensors({f"w{number}": ("BF16", (100, number))})
        for number in (1, 2, 3)
    }
    hub.add("kinds/sharded", {"config.json": json.dumps(CONFIG).encode(), "README.md": b"# A card", **shards})


def _gguf(hub: Hub) -> None:
    files = {f"tiny-{quant}.gguf": gguf(VALUES, {"w": (10, 20)}, 1000 + n, n) for n, quant in enumerate(QUANTS) if n}
    files |= {
        f"{QUANTS[0]}/tiny-{QUANTS[0]}-0000{number}-of-00002.gguf": gguf(VALUES, {"w": (1, number)}, 500, 100 + number)
        for number in (1, 2)
    }
    projector = {"mmproj-F16.gguf": gguf({"general.architecture": "clip"}, size=300)}
    hub.add("kinds/gguf", {"README.md": b"# A card", "config.json": b"{}", **files, **projector})


def _gated(hub: Hub) -> None:
    card = {"license": "llama3", "license_name": "Llama 3", "license_link": "LICENSE"}
    hub.add("kinds/gated", {"LICENSE": b"Be good.", "w.safetensors": safetensors({"w": ("F16", (7,))})}, gated=True,
            about={"cardData": card})  # fmt: skip


def _private(hub: Hub) -> None:
    hub.add("kinds/private", {"config.json": b"{}", "model.safetensors": Synthetic(1 << 20)}, private=True)


def _moved(hub: Hub) -> None:
    hub.add("kinds/before", {"config.json": b"{}", "model.safetensors": Synthetic(2 << 20, 1)})
    hub.move("kinds/before", "kinds/after")


def _many(hub: Hub) -> None:
    hub.add("kinds/many", {f"{number % 7}/{number}.txt": b"%d" % number for number in range(10_000)})


def _pickles(hub: Hub) -> None:
    hub.add("kinds/pickles", {"pytorch_model.bin": Synthetic(3000, 2), "a/training_args.bin": b"x", "b/old.ckpt": b"y"})


def _diffusers(hub: Hub) -> None:
    unet = safetensors({"down": ("F16", (4, 4, 3, 3)), "up": ("F16", (8,))})
    hub.add(
        "kinds/diffusers",
        {
            "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
            "unet/diffusion_pytorch_model.safetensors": unet,
            "unet/config.json": b"{}",
            "vae/diffusion_pytorch_model.safetensors": safetensors({"v": ("F32", (16,))}),
            # The same content twice is fetched once.
            "unet_again/diffusion_pytorch_model.safetensors": unet,
        },
        about={"library_name": "diffusers", "pipeline_tag": "text-to-image"},
    )


_KINDS: list[tuple[str, Callable[[Hub], None], dict[str, Any], dict[str, Any]]] = [
    (
        "kinds/sharded", _sharded, {},
        {"formats": ["safetensors"], "parameters": 600, "parameters-by-type": {"BF16": 600}, "context-length": 4096,
         "architecture": "LlamaForCausalLM", "gated": None, "pickles": [], "private": False, "name": "kinds/sharded"},
    ),
    ("kinds/gguf", _gguf, {}, {"formats": ["gguf"], "architecture": "gemma3", "context-length": 32768, "parameters": 200}),
    ("kinds/gated", _gated, {"huggingface_token": TOKEN}, {"parameters": 7, "formats": ["safetensors"]}),
    ("kinds/private", _private, {"huggingface_token": TOKEN}, {"private": True, "gated": None, "parameters": None}),
    ("kinds/before", _moved, {}, {"name": "kinds/after"}),
    ("kinds/many", _many, {}, {"file-count": 10_000, "formats": [], "pickle-count": 0}),
    (
        "kinds/pickles", _pickles, {},
        {"formats": ["pickle"], "pickle-count": 3,
         "pickles": ["pytorch_model.bin", "a/training_args.bin", "b/old.ckpt"]},
    ),
    (
        "kinds/diffusers", _diffusers, {},
        {"library": "diffusers", "task": "text-to-image", "parameters": 320, "parameters-by-type": {"F16": 304, "F32": 16}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "add", "keys", "told"), _KINDS, ids=[kind[0] for kind in _KINDS])
def test_what_is_planned_is_what_arrives(
    place: Place, name: str, add: Callable[[Hub], None], keys: dict[str, Any], told: Mapping[str, Any]
) -> None:
    place.hub.account(TOKEN, may_read=["kinds/private"], accepted=["kinds/gated"])
    add(place.hub)
    plan = place.arrives_as_planned(name, **keys)
    assert {key: plan[key] for key in told} == told


def test_the_gguf_models_are_told_by_quantization_and_their_patterns_fetch_each(place: Place) -> None:
    _gguf(place.hub)
    variants = place.plan("kinds/gguf", include=["*Q4_K_M*"])["variants"]
    assert {one["quantization"] for one in variants} == set(QUANTS)
    assert variants[0]["quantization"] == "Q4_K_M"
    assert {one["quantization"] for one in variants if one["selected"]} == set()  # without the projector
    for one in (variants[0], next(one for one in variants if one["quantization"] == "Q2_K")):
        assert one["projector"] == "mmproj-F16.gguf"
        plan = place.arrives_as_planned("kinds/gguf", include=one["include"])
        assert {file["path"] for file in plan["files"]} == {*one["files"], "mmproj-F16.gguf", "README.md"}
        assert [each["name"] for each in plan["variants"] if each["selected"]] == [one["name"]]
        assert sum(file["size"] for file in plan["files"] if file["path"] in one["files"]) == one["size"]


def test_a_gated_repository_is_planned_for_everybody_who_is_told_what_is_missing(place: Place) -> None:
    place.hub.account(TOKEN, accepted=["acme/gated"])
    place.hub.account(FORBIDDEN)
    content = safetensors({"w": ("F16", (11,))})
    card = {"license": "llama3", "license_link": "LICENSE"}
    place.hub.add("acme/open-twin", {"w.safetensors": content})
    place.hub.add("acme/gated", {"LICENSE": b"!", "w.safetensors": content}, gated=True, about={"cardData": card})
    place.arrives_as_planned("acme/open-twin")
    place.hub.forget()
    stranger, other = place.plan("acme/gated"), place.plan("acme/gated", huggingface_token=FORBIDDEN)
    assert {request.place for request in place.hub.requests} == {"auth", "revision", "tree"}
    owner = place.plan("acme/gated", huggingface_token=TOKEN)
    page = f"{place.hub.endpoint}/acme/gated"
    assert owner["gated"] == {"kind": "auto", "granted": True, "link": page, "missing": None}
    assert owner["license"] == {"id": "llama3", "name": None, "link": f"{page}/blob/{owner['commit']}/LICENSE"}
    for plan, missing in ((stranger, "retry with a Hub token"), (other, "may not read it")):
        assert plan["gated"]["link"] == page
        assert not plan["gated"]["granted"]
        assert missing in plan["gated"]["missing"]
        # Whether the depot has a content is told to those only whom a download would give it.
        assert (plan["bytes-here"], plan["parameters"]) == (0, None)
        assert not any(file["here"] for file in plan["files"])
    assert owner["bytes-here"] == len(content)
    assert owner["parameters"] == 11


def test_what_the_hub_has_read_itself_is_taken_and_no_file_is_asked_for(place: Place) -> None:
    about = {
        "safetensors": {"parameters": {"BF16": 8_000_000_000, "F32": 1}, "total": 8_000_000_001},
        "config": {"architectures": ["Known"], "quantization_config": {"quant_method": "awq"}},
        "gguf": {"total": 5, "architecture": "llama", "context_length": 131072},
    }
    place.hub.add("acme/told", {"model.safetensors": b"none", "m-Q4_0.gguf": b"none"}, about=about)
    place.hub.forget()
    plan = place.plan("acme/told")
    assert {request.place for request in place.hub.requests} == {"auth", "revision", "tree"}
    keys = ("parameters", "architecture", "context-length", "quantization")
    assert [plan[key] for key in keys] == [8_000_000_001, "Known", 131072, "awq"]


def test_only_heads_are_read_also_from_a_hub_without_ranges(place: Place) -> None:
    weights = gguf(VALUES, {"w": (1, 2)}, size=4 << 20)
    place.hub.add("acme/large", {"m-Q4_0.gguf": weights, "config.json": b"{}", "big.safetensors": Synthetic(64 << 20)})
    place.hub.forget()
    place.plan("acme/large")
    assert place.hub.bytes_sent() < 1 << 20
    place.hub.misbehave(Fault("ignore_range", times=None, repo="acme/large"))
    place.hub.rate = 20 << 20
    place.hub.forget()
    repo = place.hub.repos["models", "acme/large"]
    repo.commit({"more.txt": b"so that it is asked anew"}, branch="side")
    try:
        assert place.plan("acme/large", revision="side")["parameters"] == 2
        assert place.hub.bytes_sent() < 32 << 20
    finally:
        place.hub.behave()
        place.hub.rate = None


def test_a_plan_says_what_is_here_and_which_model_stands_in_the_way(place: Place) -> None:
    repo = place.hub.add("acme/kept", {"model.safetensors": Synthetic(50_000, 9), "config.json": b"{}"})
    before = place.arrives_as_planned("acme/kept")
    assert before["model"] is None
    repo.commit({"config.json": b"[]"}, branch="side")
    assert place.plan("acme/kept", revision="side")["bytes-here"] == 50_000
    after = place.arrives_as_planned("acme/kept", revision="side")
    assert after["bytes-to-fetch"] == 2
    (model,) = place.depot.client.get("/ai/model", params={"name": "acme/kept", "limit": 1}).json()["models"]
    standing = place.plan("acme/kept")["model"]
    assert standing == {"id": model["id"], "status": "ready", "deleting": False, "commit": before["commit"]}


def test_a_plan_of_what_is_ready_fetches_nothing_and_names_it_under_another_name_of_the_repository(
    place: Place,
) -> None:
    place.hub.add("acme/named", {"model.safetensors": Synthetic(5_000, 19), "config.json": b"{}"})
    place.arrives_as_planned("acme/named")
    model = place.plan("acme/named")["model"]
    here = place.plan("acme/named")
    assert (here["bytes-to-fetch"], here["bytes-here"], here["bytes-total"]) == (0, 5_002, 5_002)
    assert all(file["here"] for file in here["files"])
    assert here["other-name"] is None
    place.hub.move("acme/named", "beta/named")
    moved = place.plan("beta/named")
    assert moved["model"] is None
    assert moved["other-name"] == {**model, "name": "acme/named"}
    assert place.plan("beta/named", include=["*.json"])["other-name"] is None


def test_a_quantization_is_here_also_without_its_card_and_is_none_without_its_weights(place: Place) -> None:
    _gguf(place.hub)
    variants = {one["quantization"]: one for one in place.plan("kinds/gguf")["variants"]}
    include = variants["Q3_K_M"]["include"]
    before = place.arrives_as_planned("kinds/gguf", include=[one for one in include if one not in CARD])
    plan = place.plan("kinds/gguf", include=include)
    assert plan["model"] is not None
    assert plan["include"] == before["include"]
    assert plan["bytes-to-fetch"] == 0
    refused = place.depot.client.post("/ai/model", json={"name": "kinds/gguf", "include": include})
    assert refused.status_code == 409
    assert plan["model"]["id"] in refused.json()["error"]
    # One that has it stands for itself.
    include = variants["Q3_K_S"]["include"]
    place.arrives_as_planned("kinds/gguf", include=include)
    assert place.plan("kinds/gguf", include=include)["include"] == sorted(include)
    assert "no file" in place.refused("kinds/gguf", 400, include=["gone-Q4_K_M.gguf", *CARD])
    assert place.plan("kinds/gguf", include=list(CARD))["file-count"] == 1


def test_whether_it_fits_is_told_beside_what_running_downloads_need(place: Place) -> None:
    place.hub.add("acme/running", {f"{number}.txt": Synthetic(100_000, number) for number in range(80)})
    place.hub.add("acme/huge", {"config.json": b"{}"})
    place.hub.rate = 1 << 18
    lie = Fault("lie_size", on="tree", path="config.json", repo="acme/huge", times=None, by=1 << 60)
    place.hub.misbehave(lie)
    try:
        operation = place.depot.create("acme/running")
        running = operation["reference"]["id"]
        until(lambda: place.depot.model(running)["status"] == "downloading", place.depot.logs)
        plan = place.plan("acme/huge")
        space = plan["space"]
        assert not space["fits"]
        assert space["lacking"] == plan["bytes-to-fetch"] - space["free"] + space["needed-by-others"]
        assert space["free-after"] == space["free"] - space["needed-by-others"] - plan["bytes-to-fetch"]
        assert 0 < space["needed-by-others"] <= 8_000_000
    finally:
        place.hub.behave()
        place.hub.rate = None
    assert place.depot.wait(operation["id"])["state"] == "success"
    place.hub.add("acme/small", {"config.json": b"{}"})
    small = place.plan("acme/small")["space"]
    assert small["fits"]
    assert small["lacking"] == 0


def test_what_must_be_freed_counts_what_the_reserve_lacks_and_what_is_here_needs_nothing(
    start_depot: StartDepot, hub: Hub, own_redis: Redis
) -> None:
    hub.add("acme/here", {"config.json": b"{}"})
    hub.add("acme/more", {"config.json": b"{ }", "model.safetensors": Synthetic(5000)})
    depot = start_depot(redis_url=own_redis.url)
    depot.wait(depot.create("acme/here")["id"])
    free = shutil.disk_usage(depot.storage).free
    depot.close()
    full = start_depot(reserve=2 * free, storage=depot.storage, redis_url=own_redis.url)
    planned = {}
    for name in ("acme/here", "acme/more"):
        answer = full.client.post("/ai/model/plan", json={"name": name})
        assert answer.status_code == 200, answer.text
        planned[name] = answer.json()
    here, more = (plan["space"] for plan in planned.values())
    assert (here["fits"], here["lacking"]) == (True, 0)
    assert not more["fits"]
    assert more["lacking"] == planned["acme/more"]["bytes-to-fetch"] + more["reserve"] - more["free"] > free // 2
    refused = full.wait(full.create("acme/more")["id"])
    assert (refused["state"], "too little space" in refused["message"]) == ("failure", True)


def test_what_a_create_would_fail_for_is_refused(place: Place) -> None:
    place.hub.add("acme/model", {"config.json": b"{}"})
    place.hub.add("acme/disabled", {"config.json": b"{}"}, disabled=True)
    place.hub.add("acme/hidden", {"config.json": b"{}"}, private=True)
    assert "no model repository" in place.refused("acme/nowhere", 404)
    assert "private" in place.refused("acme/hidden", 404)
    assert "has no revision 'nope'" in place.refused("acme/model", 404, revision="nope")
    assert "leave no file" in place.refused("acme/model", 400, include=["*.gguf"])
    assert "disabled" in place.refused("acme/disabled", 400)
    assert "does not accept this token" in place.refused("acme/model", 403, huggingface_token="hf_wrong")
    assert "'name' must be" in place.refused("no-owner", 400)
    assert "Unknown key" in place.refused("acme/model", 400, revisoin="main")


def test_a_plan_of_one_token_is_none_of_another(place: Place) -> None:
    place.hub.account(TOKEN, may_read=["acme/secret"])
    place.hub.add("acme/secret", {"config.json": b"{}"}, private=True)
    place.hub.forget()
    with ThreadPoolExecutor() as pool:
        same = [pool.submit(place.plan, "acme/secret", huggingface_token=TOKEN) for _ in range(5)]
        assert all(one.result()["private"] for one in same)
    assert [request.place for request in place.hub.requests].count("revision") == 1
    place.refused("acme/secret", 404)
    place.refused("acme/secret", 403, huggingface_token="hf_other")


def test_hostile_descriptions_do_no_harm(place: Place) -> None:
    about = {
        "cardData": {"license": ["mit", "x"], "license_link": "javascript:alert(1)", "license_name": {"a": 1}},
        "config": {"architectures": [["x"]], "model_type": "a\nb", "quantization_config": []},
        "safetensors": {"parameters": {"BF16": -1, "F" * 2000: 1, "I8": True}, "total": "many"},
        "gguf": {"total": 1 << 70, "context_length": "long", "architecture": "x" * 5000},
        "gated": ["auto"],
        "library_name": {"a": "b"},
    }
    name = "acme/hostile"
    place.hub.add(
        name,
        {"config.json": b"[" * 100_000, "m.gguf": b"GGUF" + b"\xff" * 60, "w.safetensors": b"\xff" * 64},
        about=about,
    )
    plan = place.plan(name)
    assert [plan[key] for key in ("parameters", "architecture", "context-length", "quantization", "gated")] == [
        None
    ] * 5
    assert plan["license"] == {"id": "mit", "name": None, "link": None} or "/blob/" in plan["license"]["link"]
