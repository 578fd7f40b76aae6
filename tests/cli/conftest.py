"""A shell that all tests of a module share, and its depot."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell, opened
from tests.servers import Redis


@pytest.fixture(scope="module")
def shell(migrated_sqlite: Path, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("shell")
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    with opened(folder, f"sqlite:///{folder / 'depot.sqlite3'}", redis_server.url) as shell:
        yield shell
