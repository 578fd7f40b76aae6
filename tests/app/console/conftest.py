"""Those who look at the console of a module's API: an operator, a reader, and a stranger."""

import html
import re
from collections.abc import Iterator
from typing import Self

import httpx2
import pytest

from app.db.session import Database
from app.domain.keys import Role
from app.sealing import Sealer
from app.services import keys
from tests.app.by_hand import run
from tests.app.conftest import Api
from tests.depot import KEY, SECRET, SECRET_KEY

_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
_ALERT = re.compile(r'<(\w+)[^>]* role="alert"[^>]*>(.*?)</\1>', re.DOTALL)


class Visitor:
    """Asks for pages as a browser does, but follows no redirect."""

    def __init__(self, api: Api) -> None:
        self.origin = f"http://127.0.0.1:{api.depot.port}"
        headers = {"Accept": "text/html", "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        self.client = httpx2.Client(base_url=self.origin, timeout=30, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str, **given: str) -> httpx2.Response:
        return self.client.get(path, params=given or None)

    def send(self, path: str, **fields: str) -> httpx2.Response:
        """A form of ours, with what shows that it is one."""
        return self.client.post(path, data={"csrf": self.token()} | fields)

    def sign_in(self, key: str, secret: str, **fields: str) -> httpx2.Response:
        return self.client.post("/console/sign-in", data={"key": key, "secret": secret} | fields)

    def token(self) -> str:
        found = _TOKEN.search(self.get("/console").text)
        assert found is not None
        return found[1]


def new_key(api: Api, role: Role) -> tuple[str, str]:
    """The id and the secret of a key of a test's own."""

    async def make(database: Database) -> tuple[str, str]:
        async with database.begin() as connection:
            return await keys.create(connection, Sealer([SECRET_KEY]), name="a test", role=role, expires=None)

    made: tuple[str, str] = run(api.database_url, make)
    return made


def alert(page: httpx2.Response) -> str:
    """What the page warns of, without its markup."""
    found = _ALERT.search(page.text)
    assert found is not None, page.text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", found[2])).split())


@pytest.fixture(scope="module")
def operator(api: Api) -> Iterator[Visitor]:
    with Visitor(api) as visitor:
        assert visitor.sign_in(KEY, SECRET).status_code == 303
        yield visitor


@pytest.fixture(scope="module")
def reader(api: Api) -> Iterator[Visitor]:
    with Visitor(api) as visitor:
        assert visitor.sign_in(*new_key(api, Role.READER)).status_code == 303
        yield visitor


@pytest.fixture
def stranger(api: Api) -> Iterator[Visitor]:
    with Visitor(api) as visitor:
        yield visitor
