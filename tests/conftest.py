"""What tests are given: a migrated database of either kind, a Redis, a Hub, and depots of real processes."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings
from redis import Redis as Client

from app.db.migrate import upgrade
from app.db.session import Database, open_database
from tests.buckets import EVERY_SERVER, SERVERS, Place, Server
from tests.by_hand import Api
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.processes import BUSY
from tests.servers import PostgreSQL, Redis

StartDepot = Callable[..., Depot]
_TESTS = Path(__file__).parent
_SLOW = {"faults", "clients"}
"""The folders with the files that take longest."""
_LONG = {"test_up.py", "test_uploads.py", "test_webhooks.py"}
"""Files that take a minute or more, and would begin last: three of four processes would wait for one."""
EVERY = os.environ.get("DEPOT_TESTS") == "all"
"""Whether tests of whole depots run on every database and every object store, as they do nightly."""
STORES = list(EVERY_SERVER) if EVERY else ["versitygw"]
"""The object stores of tests of whole depots, by their fixtures."""
_OURS = ("DEPOT_", "HF_")
_WHOLE = _SLOW | {"api", "cli", "console", "hub_api", "worker"}
"""The folders with tests of whole depots. What the databases do differently is tested in `unit`."""


def pytest_configure() -> None:
    Depot.forks = True
    # A busy machine is no failure.
    settings.register_profile("patient", deadline=None)
    settings.register_profile("thorough", deadline=None, max_examples=20_000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not EVERY:
        names = {item.nodeid for item in items}
        kept: list[pytest.Item] = []
        spared: list[pytest.Item] = []
        for item in items:
            is_spared = item.get_closest_marker("nightly") or _of_other_database(item) in names
            (spared if is_spared else kept).append(item)
        items[:] = kept
        config.hook.pytest_deselected(items=spared)
    _mix(items)


def _of_other_database(item: pytest.Item) -> str:
    """The name of the same test on the other database, if its file is for that one."""
    if item.path.relative_to(_TESTS).parts[0] not in _WHOLE:
        return ""
    kinds = ["sqlite", "postgresql"]
    mine, other = reversed(kinds) if crc32(item.path.name.encode()) % 2 else kinds
    test, _, parameters = item.nodeid.partition("[")
    return f"{test}[{parameters.replace(other, mine)}" if other in parameters else ""


def _mix(items: list[pytest.Item]) -> None:
    """Mix the folders: some tests wait, and others compute meanwhile. What takes longest does not begin last."""
    files: dict[str, list[Path]] = {}
    for path in dict.fromkeys(item.path for item in items):
        files.setdefault(path.relative_to(_TESTS).parts[0], []).append(path)
    ranks = {
        path: place / len(paths) * (0.5 if path.name in _LONG else 0.7 if folder in _SLOW else 1.0)
        for folder, paths in files.items()
        for place, path in enumerate(paths)
    }
    items.sort(key=lambda item: ranks[item.path])


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a test leaves in it, such as a command that it ran in this process, is not for the next one."""
    before = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
    yield
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """One that may be stopped, and that no other depot's workers listen to."""
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def versitygw() -> Iterator[Server]:
    with SERVERS["versitygw"]() as server:
        yield server


@pytest.fixture(scope="session")
def juicefs_gateway() -> Iterator[Server]:
    with SERVERS["juicefs_gateway"]() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Server]:
    with EVERY_SERVER["seaweedfs"]() as server:
        yield server


@pytest.fixture(params=STORES)
def bucket(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place of the test's own in a bucket, on each of these servers in turn."""
    server: Server = request.getfixturevalue(request.param)
    with server.lent() as place:
        yield place


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is only copied."""
    path = tmp_path_factory.mktemp("template") / "depot.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, of each kind in turn."""
    url = migrated(request, tmp_path)
    yield url
    if request.param == "postgresql":
        request.getfixturevalue("postgresql").drop(url)


def migrated(request: pytest.FixtureRequest, folder: Path) -> str:
    """The address of a fresh database of the kind that `request.param` says; SQLite's is in `folder`."""
    if request.param == "postgresql":
        address: str = request.getfixturevalue("postgresql").migrated()
        return address
    shutil.copy(request.getfixturevalue("migrated_sqlite"), folder / "depot.sqlite3")
    return f"sqlite:///{folder / 'depot.sqlite3'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's database, opened."""
    database = open_database(database_url, patience=BUSY)
    yield database
    await database.close()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis."""
    with Client.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def start_depot(database_url: str, redis_url: str, hub: Hub, tmp_path: Path) -> Iterator[StartDepot]:
    """Starts a `Depot` on the test's database, Redis and Hub; what it is given otherwise goes to `Depot`."""
    started: list[Depot] = []

    def start(**settings: object) -> Depot:
        where = {"database_url": database_url, "redis_url": redis_url, "hub_endpoint": hub.endpoint} | settings
        folder = tmp_path / f"depot-{len(started)}"
        folder.mkdir()
        started.append(Depot(folder, **where))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for depot in started:
        depot.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    database_url = migrated(request, folder)
    depot = Depot(
        folder, database_url=database_url, redis_url=redis_server.url, hub_endpoint="http://127.0.0.1:9", workers=0
    )
    yield Api(depot, database_url)
    depot.close()
    assert "Traceback" not in depot.logs()
