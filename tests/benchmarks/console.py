"""What the console's first view weighs and when it shows: `python -m tests.benchmarks.console [--models 1000]`.

A real browser with an empty cache, on a depot with so many models in every state. "first render" is when the browser
painted the first of the page's content, from when it was told to go there.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Browser, StorageState, sync_playwright
from sqlalchemy import insert

from app.db.clock import now
from app.db.session import open_database
from app.db.tables import ModelRow
from app.domain.errors import Reason
from app.domain.states import ModelStatus
from tests.console.browser.conftest import PROGRAMS
from tests.console.browser.views import DESKTOP, Views
from tests.depot import Depot
from tests.servers import PostgreSQL, Redis

_WEIGHT, _RENDER = 100_000, 1.0
"""Bytes and seconds: the limits."""
_ROUNDS = 7


async def _fill(address: str, count: int) -> None:
    """So many models, every tenth of them not ready."""
    database = open_database(address)
    rows = [_model(number) for number in range(count)]
    async with database.begin() as connection:
        for row in rows:
            await connection.execute(insert(ModelRow).values(created_at=now(), updated_at=now(), **row))
    await database.close()


def _model(number: int) -> dict[str, Any]:
    status = {3: ModelStatus.DOWNLOADING, 7: ModelStatus.ERROR}.get(number % 20, ModelStatus.READY)
    size = (number % 97 + 1) * 157_286_400
    failed = status is ModelStatus.ERROR
    return {
        "id": uuid4(),
        "name": f"organisation-{number % 31}/Model-{number}-Instruct",
        "revision": "main",
        "include": [],
        "exclude": [],
        "fingerprint": uuid4().hex,
        "status": status,
        "deleting": False,
        "commit": "c" * 40,
        "model_size": size,
        "downloaded": size if status is ModelStatus.READY else size // 3,
        "total": size,
        "rate": 50_000_000 if status is ModelStatus.DOWNLOADING else None,
        "path": f"/models/by-name/organisation/Model-{number}" if status is ModelStatus.READY else None,
        "reason": Reason.FORBIDDEN if failed else None,
        "message": "The repository is gated: accept its licence, then send a token." if failed else None,
    }


def _first_view(browser: Browser, address: str, signed_in: StorageState | None) -> tuple[int, int, float]:
    """(bytes over the wire with their headers, requests, seconds to the first render), with nothing cached."""
    width, height = DESKTOP
    context = browser.new_context(viewport={"width": width, "height": height}, storage_state=signed_in)
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[int] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(address)
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    seconds = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
    context.close()
    return sum(sizes), len(sizes), seconds


def _report(title: str, views: list[tuple[int, int, float]]) -> None:
    weight, requests = views[0][:2]
    seconds = statistics.median(view[2] for view in views)
    good = weight <= _WEIGHT and seconds <= _RENDER
    print(
        f"{title:24} {weight / 1000:6.1f} kB in {requests} requests (limit {_WEIGHT / 1000:.0f}), "
        f"first render {seconds * 1000:4.0f} ms (limit {_RENDER * 1000:.0f}) {'ok' if good else 'ABOVE'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    count = parser.parse_args().models
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        print("there is no browser: apt-get install chromium")
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, PostgreSQL() as postgresql, Redis() as redis:
        address = postgresql.migrated()
        asyncio.run(_fill(address, count))
        nowhere = "http://127.0.0.1:9"
        depot = Depot(Path(name), database_url=address, redis_url=redis.url, hub_endpoint=nowhere, workers=0)
        try:
            _look(program, f"http://127.0.0.1:{depot.port}", count)
        finally:
            depot.close()


def _look(program: str, origin: str, count: int) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        views = Views(browser, origin)
        view = views.open("/console")
        signed_in = view.page.context.storage_state()
        model = view.page.locator("tr[data-model]").first.get_attribute("data-model")
        views.close()
        pages = {"sign-in": ("/console/sign-in", None), f"{count} models": ("/console", signed_in)}
        pages["a model"] = (f"/console/models/{model}", signed_in)
        for title, (path, state) in pages.items():
            _report(title, [_first_view(browser, f"{origin}{path}", state) for _ in range(_ROUNDS)])
        browser.close()


if __name__ == "__main__":
    main()
