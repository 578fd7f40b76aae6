"""How every page looks: to axe-core, in light and dark, on a phone, and to who may only read."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import PHONE, Pictures, Scheme, Views
from tests.fakehub.hub import Synthetic
from tests.processes import until

_PAGES = {
    "models": "/console",
    "models-none": "/console?q=nothing-is-called-so",
    "deployments": "/console/deployments",
    "activity": "/console/activity",
    "storage": "/console/storage",
    "workers": "/console/workers",
}
_OWN = {"session": "/console/session"}
"""What has a form for a reader, too."""
_OPERATORS = {"add": "/console/models/new", "keys": "/console/keys", "audit": "/console/audit"}
_NAMES = ["mistralai/Mistral-7B-Instruct-v0.3", "unsloth/gemma-3-270m-it-GGUF", "meta-llama/Llama-3.1-8B"]


@pytest.fixture(scope="module")
def models(served: Served) -> Iterator[dict[str, str]]:
    """The paths of a model's page for a ready, a downloading and a failed one, which the other pages show too."""
    ready, downloading, failed = _NAMES
    config = b'{"architectures": ["MistralForCausalLM"]}'
    quants = {f"Mistral-7B-Instruct-v0.3-{quant}.gguf": quant.encode() for quant in ("Q2_K", "Q4_K_M", "Q8_0")}
    weights = {"model.safetensors": Synthetic(3 << 20)}
    served.hub.add(ready, {"config.json": config, "mmproj-F16.gguf": b"eyes", **weights, **quants})
    served.hub.add(downloading, {"gemma-3-270m-it-Q8_0.gguf": Synthetic(256 << 20)})
    served.hub.add(failed, {"model.safetensors": b"gated"}, gated=True)
    served.hub.total_rate = None
    ids = {"ready": _asked(served, ready), "failed": _asked(served, failed)}
    until(lambda: served.depot.model(ids["ready"])["status"] == "ready", served.depot.logs)
    until(lambda: served.depot.model(ids["failed"])["status"] == "error", served.depot.logs)
    served.hub.total_rate = 4 << 20
    ids["downloading"] = _asked(served, downloading)
    until(lambda: served.depot.model(ids["downloading"])["rate"], served.depot.logs)
    body = {"name": "chat", "model": {"id": ids["ready"]}, "gpu-type": "a100", "gpu-count": 2, "replicas": 3}
    deployment = served.depot.client.post("/ai/deployment", json=body).json()["reference"]["id"]
    yield {f"model-{status}": f"/console/models/{model_id}" for status, model_id in ids.items()}
    served.depot.client.delete(f"/ai/deployment/{deployment}")
    for model_id in ids.values():
        served.depot.client.delete(f"/ai/model/{model_id}")


@pytest.fixture(scope="module")
def questions(served: Served, models: dict[str, str]) -> dict[str, str]:
    """The paths of the pages that ask before a delete, also of a model that a deployment holds."""
    (deployment,) = served.depot.client.get("/ai/deployment").json()["deployments"]
    asked = {f"delete-{name}": f"{models[name]}/delete" for name in ("model-ready", "model-failed")}
    return asked | {"delete-deployment": f"/console/deployments/{deployment['id']}/delete"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(
    views: Views, models: dict[str, str], questions: dict[str, str], pictures: Pictures, scheme: Scheme
) -> None:
    view = views.open("/console/sign-in", key=None, scheme=scheme)
    found = {}

    def look(name: str) -> None:
        found[name] = view.axe()
        pictures.take(view.page, f"{name}-{scheme}")

    look("sign-in")
    view.refusals |= {403, 404}
    view.sign_in(secret="another")
    expect(view.page.get_by_role("alert")).to_be_visible()
    look("sign-in-refused")
    view.sign_in()
    expect(view.page).to_have_url(f"{view.origin}/console")
    for name, path in (_PAGES | _OWN | _OPERATORS | questions | models).items():
        view.open(path)
        look(name)
    view.page.locator("main button[data-action=delete]").click()
    expect(view.page.locator("dialog[open]")).to_be_visible()
    look("confirm")
    view.open(models["model-ready"])
    view.page.locator("#quants summary").click()
    look("quantizations")
    view.page.goto(f"{view.origin}/console/models/{uuid4()}")
    look("not-found")
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_on_a_phone_axe_is_content_no_page_scrolls_to_the_side_and_no_label_is_broken(
    views: Views, models: dict[str, str], questions: dict[str, str], pictures: Pictures
) -> None:
    view = views.open("/console/sign-in", key=None, size=PHONE)
    found = {"sign-in": (view.width(), view.broken(), view.axe())}
    view.sign_in()
    expect(view.page).to_have_url(f"{view.origin}/console")
    for name, path in (_PAGES | _OWN | _OPERATORS | questions | models).items():
        view.open(path)
        for box in view.page.locator("td.pick input").all()[:1]:  # shows what can be done with those that are chosen
            box.check()
        found[name] = view.width(), view.broken(), view.axe()
        pictures.take(view.page, f"{name}-phone")
    assert {name: seen for name, seen in found.items() if seen != (PHONE[0], [], [])} == {}


def test_who_may_only_read_sees_everything_but_no_form_that_changes_anything(
    served: Served, views: Views, models: dict[str, str]
) -> None:
    view = views.open("/console", key=served.reader)
    for name, path in (_PAGES | models).items():
        view.open(path)
        actions = view.page.locator("form[method=post]").evaluate_all(
            "forms => forms.map(form => new URL(form.action).pathname)"
        )
        assert actions == ["/console/sign-out"], name
        for hidden in _OPERATORS.values():
            expect(view.page.locator(f"a[href='{hidden}']")).to_have_count(0)
    view.refusals.add(403)
    for path in _OPERATORS.values():
        answer = view.page.goto(f"{served.origin}{path}")
        assert answer is not None
        assert answer.status == 403
        expect(view.page.get_by_role("alert")).to_contain_text("operator")


def _asked(served: Served, name: str) -> str:
    model_id: str = served.depot.create(name)["reference"]["id"]
    return model_id
