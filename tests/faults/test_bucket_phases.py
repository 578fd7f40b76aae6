"""A depot whose object store fails at one request of a model's life after another: nothing is a bug, nothing comes twice."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.buckets import Place, Server
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.faults.at_points import FORGET, POINTS, SIZE, are_ready, create, nothing_else_is_left, settings_for, trouble
from tests.faults.storefront import Storefront, Trouble
from tests.processes import BUSY, until

SCHEMES = ["http"]
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def place(versitygw: Server) -> Place:
    return versitygw.place()


@pytest.fixture
def front(place: Place) -> Iterator[Storefront]:
    with Storefront(place.server.port) as front:
        yield front


@pytest.fixture
def depot(start_depot: StartDepot, place: Place, front: Storefront) -> Depot:
    return start_depot(workers=0, slots=len(POINTS), **settings_for(place, front))
