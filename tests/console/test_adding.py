"""The add page's looks at the Hub: a search, a plan, what a gate needs, and what is said when the Hub does not answer."""

import html
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.domain.repositories import CARD
from tests.by_hand import Api
from tests.console.conftest import Site, User
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.processes import until
from tests.servers import Redis

TOKEN = "hf_planted0token0of0the0add0page"
_GGUF = "acme/tiny-GGUF"
_PATIENCE = 8.0
"""Seconds for which a look waits for the Hub at least."""


@dataclass(frozen=True)
class Page:
    depot: Depot
    hub: Hub
    user: User

    def look(self, name: str, **fields: str) -> str:
        answer = self.user.send("/console/models/look", {"HX-Request": "true"}, name=name, **fields)
        assert answer.status_code == 200, answer.text + self.depot.logs()
        assert TOKEN not in answer.text
        return html.unescape(answer.text)


@pytest.fixture(scope="module")
def add(migrated_sqlite: Path, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("adding")
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    database_url = f"sqlite:///{folder / 'depot.sqlite3'}"
    with Hub() as hub:
        depot = Depot(folder, database_url=database_url, redis_url=redis_server.url, hub_endpoint=hub.endpoint)
        until(lambda: "worker is ready" in depot.logs(), depot.logs)
        about = {"cardData": {"license": "apache-2.0"}, "downloads": 1_234_567, "likes": 8}
        hub.add("acme/tiny", {"config.json": b"{}", "w.safetensors": Synthetic(1 << 20)}, about=about)
        quants = {
            f"tiny-{quant}.gguf": Synthetic(size << 10, size)
            for quant, size in (("Q2_K", 1), ("Q4_K_M", 2), ("Q8_0", 4))
        }
        hub.add(_GGUF, quants | {"README.md": b"# A card", "mmproj-F16.gguf": Synthetic(512, 9)})
        shards = {f"m-0000{number}-of-00002.gguf": Synthetic(1 << 10, 20 + number) for number in (1, 2)}
        hub.add("acme/shards", {**shards, "mmproj-F16.gguf": Synthetic(512, 9), "README.md": b"# A card"})
        hub.add("acme/gated", {"w.safetensors": Synthetic(1 << 10, 3)}, gated=True)
        hub.add("acme/pickled", {"pytorch_model.bin": Synthetic(1 << 10, 4)})
        hub.account(TOKEN, accepted=["acme/gated"])
        site = Site(Api(depot, database_url))
        yield Page(depot, hub, site.user())
        site.close()
        depot.close()
        assert TOKEN not in depot.logs()
        assert "Traceback" not in depot.logs()


def test_words_find_models_with_what_the_hub_tells_of_them(add: Page) -> None:
    found = add.look("tiny")
    assert re.findall(r'data-choose="([^"]+)"', found) == ["acme/tiny", _GGUF]
    assert "1.2 M downloads" in found
    assert "data-plan" not in found
    assert "gated" in add.look("gated")
    assert "no models with" not in found
    assert "finds no model" in add.look("nothing like that")
    assert "data-choose" not in add.look("t")


@pytest.mark.parametrize("name", ["acme/tiny", "https://huggingface.co/acme/tiny/tree/main", "hf.co/acme/tiny"])
def test_a_name_or_an_address_is_planned(add: Page, name: str) -> None:
    plan = add.look(name)
    for told in ('data-plan="acme/tiny"', "1.0 MB</b> in 2 files", "It fits", "apache-2.0", "safetensors"):
        assert told in plan, plan
    assert '-d \'{"name": "acme/tiny"' in plan
    assert 'id="matches"' not in plan


def test_of_several_quantizations_the_best_default_is_chosen_and_another_may_be(add: Page) -> None:
    plan = add.look(_GGUF)
    chosen = {html.unescape(value): bool(mark) for value, mark in re.findall(r"value=\"(\[[^>]*\])\"( checked)?", plan)}
    names = [json.loads(value)[1] for value in chosen]
    assert names == [
        *([f"tiny-{quant}.gguf", "mmproj-F16.gguf", "LICENSE*", "README.md"] for quant in ("Q4_K_M", "Q8_0", "Q2_K")),
        [],
    ]
    assert list(chosen.values()) == [True, False, False, False]
    assert "2.6 kB</b> in 3 files" in plan
    assert '"include": ["tiny-Q4_K_M.gguf", "mmproj-F16.gguf", "LICENSE*", "README.md"]' in plan
    whole = add.look(_GGUF, variant=json.dumps([_GGUF, []]))
    assert "in 5 files" in whole
    assert "in 3 files" in add.look(f"{_GGUF}:q8_0")
    assert "There is no Q6_K" in add.look(f"{_GGUF}:Q6_K")
    assert f'"modeldepot pull {_GGUF}:Q4_K_M"' in plan
    assert f'"modeldepot pull {_GGUF}:Q8_0"' in add.look(f"{_GGUF}:q8_0@main")
    # One that was chosen of another repository means nothing, and patterns of the user's own are left alone.
    assert 'data-plan="acme/tiny"' in add.look("acme/tiny", variant=json.dumps([_GGUF, ["tiny-Q8_0.gguf"]]))
    assert "in 1 file<" in add.look(_GGUF, include="*Q2_K*").replace("in 1 file;", "in 1 file<")


def test_a_file_without_what_belongs_to_it_is_a_choice_of_its_own(add: Page) -> None:
    plan = add.look(f"https://huggingface.co/{_GGUF}/blob/main/tiny-Q8_0.gguf")
    (chosen,) = re.findall(r'id="(variant-[^"]+)"[^>]* checked', plan)
    assert chosen == "variant-other"
    assert "Only what was pasted <small>tiny-Q8_0.gguf" in plan
    assert "variant-other" not in add.look(_GGUF, include="*Q2_K*")


def test_what_does_not_fit_is_downloaded_only_by_who_insists(add: Page) -> None:
    assert ">Download</button>" in add.look("acme/tiny")
    add.hub.add("acme/vast", {"model.safetensors": Synthetic(1 << 10)})
    add.hub.misbehave(Fault("lie_size", repo="acme/vast", by=1 << 50, times=None))
    plan = add.look("acme/vast")
    add.hub.behave()
    assert re.search(r'<button id="download"[^>]* class="quiet">Download anyway<', plan)
    assert "/console/storage" in plan


def test_a_pasted_quantization_is_added_with_its_projector(add: Page) -> None:
    answer = add.user.send("/console/models/new", name=f"hf.co/{_GGUF}:Q2_K")
    assert answer.status_code == 303, answer.text
    model = add.depot.model(answer.headers["location"].rsplit("/", 1)[1])
    assert (model["name"], model["include"]) == (
        _GGUF,
        ["LICENSE*", "README.md", "mmproj-F16.gguf", "tiny-Q2_K.gguf"],
    )
    assert "here already" in add.look(f"{_GGUF}:Q2_K")


@pytest.mark.parametrize(
    ("form", "model"),
    [
        ("hub:/acme/tiny/tree/main", "acme/tiny"),
        ("vllm serve acme/tiny", "acme/tiny"),
        ("acme/tiny@main", "acme/tiny"),
        (f"ollama run hf.co/{_GGUF}", _GGUF),
    ],
)
def test_an_address_of_the_own_hub_a_command_line_and_a_revision_are_planned(add: Page, form: str, model: str) -> None:
    plan = add.look(form.replace("hub:", add.hub.endpoint))
    assert f'data-plan="{model}"' in plan
    assert f"in {3 if model == _GGUF else 2} files" in plan


def test_the_plan_of_a_shard_is_of_its_model_and_says_so(add: Page) -> None:
    plan = add.look("https://huggingface.co/acme/shards/blob/main/m-00002-of-00002.gguf")
    assert "m-00002-of-00002.gguf is one shard of a model: all 2 are meant, and its projector if it has one." in plan
    assert "in 4 files" in plan
    assert "is one shard" not in add.look("acme/shards")


def test_a_gate_says_where_to_accept_and_opens_to_a_token(add: Page) -> None:
    closed = add.look("acme/gated")
    assert "is gated" in closed
    assert f'href="{add.hub.endpoint}/acme/gated"' in closed
    assert 'rel="noopener noreferrer"' in closed
    assert "data-asks-token" in closed
    assert "opens the repository" in add.look("acme/gated", token=TOKEN)
    assert "data-asks-token" not in add.look("acme/tiny")
    assert "data-asks-token" in add.look("acme/gated", token="hf_wrong")


def test_what_is_not_there_is_said_beside_what_is_called_alike(add: Page) -> None:
    found = add.look("acme2/tiny")
    assert "alert" in found
    assert "data-asks-token" in found  # it may be private
    assert re.findall(r'data-choose="([^"]+)"', found) == ["acme/tiny", _GGUF]
    assert "only models are kept" in add.look("https://huggingface.co/datasets/acme/tiny")
    assert "is no model's name" in add.look("https://example.com/acme/tiny")


def test_pickles_are_warned_of(add: Page) -> None:
    assert "can run code when it is loaded" in add.look("acme/pickled")


def test_a_hub_that_is_away_or_limits_the_rate_is_said_and_adding_still_works(add: Page) -> None:
    for status in (503, 429):
        add.hub.misbehave(Fault("status", status=status, on="any", times=None))
        try:
            assert 'class="alert"' in add.look(f"acme/away-{status}")
            assert "data-choose" not in add.look(f"away {status}")
        finally:
            add.hub.behave()
    assert add.user.send("/console/models/new", name="acme/tiny").status_code == 303


def test_a_depot_without_models_offers_some_to_begin_with(site: Site) -> None:
    user = site.user()
    shown = user.page("/console/models/new")
    assert shown.count("data-choose=") == 3
    site.api.ready_model()
    assert "data-choose=" not in user.page("/console/models/new")
    assert site.reader().send("/console/models/look", name="acme/tiny").status_code == 403


def _included(add: Page, answer: httpx2.Response) -> list[str]:
    """The patterns of the model that a form added, without those of its card."""
    assert answer.status_code == 303, answer.text
    model = add.depot.model(answer.headers["location"].rsplit("/", 1)[1])
    return [pattern for pattern in model["include"] if pattern not in CARD]


def _quants(add: Page, name: str) -> str:
    seed = len(add.hub.repos) * 10
    add.hub.add(
        name,
        {
            f"m-{quant}.gguf": Synthetic(1 << 10, seed + place)
            for place, quant in enumerate(("Q3_K_S", "Q4_K_M", "Q8_0"))
        },
    )
    return name


def test_patterns_that_are_typed_win_over_the_choice_that_the_plan_made(add: Page) -> None:
    name = _quants(add, "acme/typed-GGUF")
    default = json.dumps([name, ["m-Q4_K_M.gguf", "LICENSE*", "README.md"]])
    assert f'value="{default}" checked' in add.look(name)
    fields = {"variant": default, "include": "*Q3_K_S*"}
    plan = add.look(name, **fields)
    assert " checked" not in plan
    assert "in 1 file<" in plan
    assert "*Q3_K_S*" in plan.partition('id="commands"')[2]
    assert _included(add, add.user.send("/console/models/new", name=name, **fields)) == ["*Q3_K_S*"]
    # So does a quantization that is added to the name.
    assert "m-Q8_0.gguf" in add.look(f"{name}:Q8_0", variant=default).partition('id="commands"')[2]
    assert _included(add, add.user.send("/console/models/new", name=f"{name}:Q8_0", variant=default)) == ["m-Q8_0.gguf"]
    # What is excluded is no default.
    assert "m-Q8_0.gguf" in add.look(name, exclude="*Q4*").partition('id="commands"')[2]


def test_what_is_sent_before_its_plan_is_there_is_chosen_as_the_plan_does(add: Page) -> None:
    name = _quants(add, "acme/soon-GGUF")
    assert _included(add, add.user.send("/console/models/new", name=name)) == ["m-Q4_K_M.gguf"]
    everything = add.user.send("/console/models/new", name=name, variant=json.dumps([name, []]))
    assert _included(add, everything) == []
    # What the plan of had no choice is not asked for again.
    add.hub.add("acme/planned", {"config.json": b"{}"})
    (mark,) = re.findall(r'name="planned" value="([^"]+)"', add.look("acme/planned"))
    assert 'name="planned"' not in add.look(name)
    add.hub.misbehave(Fault("stall", on="any", after_bytes=None, times=None))
    try:
        before = time.monotonic()
        assert _included(add, add.user.send("/console/models/new", name="acme/planned", planned=mark)) == []
        assert time.monotonic() - before < _PATIENCE
        answer = add.user.send("/console/models/new", name=_quants(add, "acme/stalled-GGUF"))
        assert (answer.status_code, "name one by patterns" in answer.text) == (503, True)
    finally:
        add.hub.behave()


def test_a_quantization_is_kept_through_the_search(add: Page) -> None:
    _quants(add, "acme/sought-GGUF")
    (choice,) = re.findall(r'data-choose="([^"]+)"', add.look("sought-GGUF:Q8_0"))
    assert choice == "acme/sought-GGUF:Q8_0"
    assert 'data-choose="acme/sought-GGUF:Q8_0@main"' in add.look("sought-GGUF:Q8_0@main")
    assert "m-Q8_0.gguf" in add.look(choice).partition('id="commands"')[2]
    answer = add.user.send("/console/models/new", name="sought-GGUF:Q8_0")
    assert _included(add, answer) == ["m-Q8_0.gguf"]


def test_a_name_without_its_owner_is_the_only_model_that_is_called_so(add: Page) -> None:
    for name in ("acme/unique", "acme/unique-too", "acme/twice", "beta/twice"):
        add.hub.add(name, {"config.json": b"{}"})
    added = add.user.send("/console/models/new", name="unique")
    assert add.depot.model(added.headers["location"].rsplit("/", 1)[1])["name"] == "acme/unique"
    # One that is kept is shown, also under its name and where others on the Hub are called so.
    add.hub.add("beta/unique", {"config.json": b"{}"})
    for name in ("unique", "acme/unique"):
        assert add.user.send("/console/models/new", name=name).headers["location"] == added.headers["location"]
    for words in ("twice", "acme twice", "uniq"):
        several = add.user.send("/console/models/new", name=words)
        assert several.status_code == 200
        assert "/console/models/look?name=acme" in several.text
        assert f'value="{words}"' in several.text
    nobody = add.user.send("/console/models/new", name="nobody-has-it")
    assert nobody.status_code == 400
    assert "The Hub finds no model" in nobody.text


def test_without_a_script_a_look_renders_the_whole_page_with_what_was_found(add: Page) -> None:
    _quants(add, "acme/scriptless-GGUF")
    form = add.user.page("/console/models/new")
    assert re.search(r'<noscript>.*formaction="/console/models/look"', form)
    found = add.user.send("/console/models/look", name="scriptless", token=TOKEN)
    (link,) = re.findall(r'href="(/console/models/look\?[^"]+)" data-choose', found.text)
    plan = html.unescape(add.user.page(link))
    assert 'name="csrf"' in plan
    assert 'data-plan="acme/scriptless-GGUF"' in plan
    assert 'value="acme/scriptless-GGUF"' in plan
    assert 'hx-trigger="input' in plan  # it is not asked for a second time
    sent = add.user.send("/console/models/look", name="acme/scriptless-GGUF", include="*Q8*", token=TOKEN)
    assert "in 1 file<" in sent.text
    assert 'value="*Q8*"' in sent.text
    assert TOKEN not in found.text + sent.text
    assert add.user.client.get("/console/models/look?name=acme/gated&token=hf_in_an_address").text.count("hf_in") == 0


def test_a_plan_of_what_is_here_says_so(add: Page) -> None:
    add.hub.add("acme/kept", {"config.json": b"{}", "w.safetensors": Synthetic(1 << 10, 777)})
    assert add.depot.wait(add.depot.create("acme/kept")["id"])["state"] == "success"
    plan = add.look("acme/kept")
    assert "data-standing" in plan
    assert "nothing is fetched" in plan
    assert "to fetch" not in plan
    add.hub.move("acme/kept", "beta/kept")
    moved = add.look("beta/kept")
    assert re.search(r'here already as <a href="/console/models/[^"]+">acme/kept</a>: ready', moved)
    assert "data-standing" not in moved
