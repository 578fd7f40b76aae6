"""A model's page, while the model arrives and once it is ready: what it shows, and how it looks."""

import json
import re

from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Pictures, Views
from tests.fakehub.hub import Synthetic
from tests.fakehub.weights import safetensors
from tests.processes import until

_NAME = "acme/shown"
_CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096}
_CARD = b"""---
license: apache-2.0
base_model: acme/base
---
# Shown

A model with a [licence](LICENSE), an image ![a chart](https://evil.example/chart.png) and <img src="https://evil.example/x">.

| Benchmark | Score |
|---|---|
| MMLU | 42 |

```python
model = load("acme/shown")
```
<script>window.evil = true</script><div hx-get="/console/workers" hx-trigger="load">more</div>
"""


def test_a_model_shows_what_arrives_of_it_and_then_what_it_is(served: Served, views: Views, pictures: Pictures) -> None:
    files = {f"{number}.txt": b"%d" % number for number in range(20)}
    weights = {"large.bin": Synthetic(48 << 20, 61), "larger.bin": Synthetic(64 << 20, 62)}
    heads = {"model.safetensors": safetensors({"w": ("BF16", (1000, 500))})}
    config = {"config.json": json.dumps(_CONFIG).encode(), "README.md": _CARD}
    served.hub.add(_NAME, {**config, **heads, **weights, **files})
    served.hub.total_rate = 4 << 20
    model_id = served.depot.create(_NAME)["reference"]["id"]
    until(lambda: served.depot.model(model_id)["rate"], served.depot.logs)
    view = views.open(f"/console/models/{model_id}")
    page = view.page
    arriving = page.locator("#arriving")
    expect(arriving.get_by_role("progressbar", name=re.compile(r"large"))).not_to_have_count(0)
    expect(arriving.get_by_role("img", name="Rate over time")).to_be_visible()
    expect(arriving).to_contain_text("Requested")
    expect(page.get_by_role("button", name="Cancel the download")).to_be_visible()
    faults = view.looks(pictures, "model-arriving", ["light"])
    served.hub.total_rate = None
    expect(page.locator("#live")).to_have_attribute("data-status", "ready")

    facts = page.locator(".facts")
    for told in ("LlamaForCausalLM", "500 k", "4,096 tokens", "apache-2.0", "acme/base", "safetensors"):
        expect(facts).to_contain_text(told)
    hub = facts.get_by_role("link", name="Its page")
    expect(hub).to_have_attribute("href", f"{served.hub.endpoint}/{_NAME}")
    card = page.locator("#card")
    expect(card.get_by_role("heading", name="Shown")).to_be_visible()
    expect(card.get_by_role("cell", name="42")).to_be_visible()
    expect(card.locator("img, script, [hx-get]")).to_have_count(0)
    assert page.evaluate("window.evil") is None
    page.locator(".all-files summary").click()
    page.locator("#filter").fill("large")
    expect(page.locator("#files tbody tr")).to_have_count(2)
    expect(page.locator("#files .sum").first).to_contain_text(re.compile("^[0-9a-f]{8}…"))
    page.locator("#filter").fill("")
    expect(page.locator("#files tbody tr")).to_have_count(25)
    assert faults + view.looks(pictures, "model-shown") == []
    page.locator("main button[data-action=delete]").click()
    expect(page.locator("#confirm-question")).to_contain_text("which frees 118 MB")
    page.locator("dialog[open] button[value=yes]").click()
    expect(page).to_have_url(f"{served.origin}/console")
