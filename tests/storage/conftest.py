"""What tests of the storage are given: buckets on a strict and on a lax server, and with DEPOT_TESTS=all on every one."""

from collections.abc import Iterator

import pytest

from tests.buckets import EVERY_SERVER, SERVERS, Place, Server
from tests.conftest import EVERY


@pytest.fixture(params=EVERY_SERVER if EVERY else SERVERS)
def bucket(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place of the test's own in a bucket, on the strict server and on the lax one."""
    server: Server = request.getfixturevalue(request.param)
    with server.lent() as place:
        yield place
