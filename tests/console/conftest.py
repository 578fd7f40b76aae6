"""A console that all tests of a module share: a real process, and no worker; the test does what that would."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import httpx2
import pytest

from app.domain.keys import Role
from tests.api.test_auth import make_key
from tests.by_hand import Api
from tests.conftest import migrated
from tests.depot import KEY, SECRET, Depot
from tests.servers import Redis

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass
class Site:
    """The console of a depot."""

    api: Api
    _opened: list[httpx2.Client] = field(default_factory=list)

    def stranger(self) -> httpx2.Client:
        """Somebody with a browser who is not signed in."""
        client = httpx2.Client(base_url=f"http://127.0.0.1:{self.api.depot.port}", timeout=30, verify=False)
        self._opened.append(client)
        return client

    def user(self, key: str = KEY, secret: str = SECRET) -> "User":
        """Somebody who is."""
        client = self.stranger()
        answer = client.post("/console/sign-in", data={"key": f"{key}:{secret}"})
        assert answer.status_code == 303, answer.text
        return User(client)

    def reader(self) -> "User":
        return self.user(*make_key(self.api, Role.READER))

    def close(self) -> None:
        for client in self._opened:
            client.close()


@dataclass
class User:
    client: httpx2.Client

    def page(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def csrf(self) -> str:
        found = _CSRF.search(self.page("/console"))
        assert found is not None
        return found[1]

    def send(self, path: str, /, *headers: Mapping[str, str], **fields: str) -> httpx2.Response:
        """A form, as a page of the console has it."""
        return self.client.post(path, data={"csrf": self.csrf()} | fields, headers=dict(*headers))


@pytest.fixture(scope="module", params=["sqlite"])
def site(
    request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("console")
    database_url = migrated(request, folder)
    depot = Depot(
        folder, database_url=database_url, redis_url=redis_server.url, hub_endpoint="http://127.0.0.1:9", workers=0
    )
    site = Site(Api(depot, database_url))
    yield site
    site.close()
    depot.close()
    assert "Traceback" not in depot.logs()
