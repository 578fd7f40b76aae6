"""An nginx on loopback that is a Hub: its API as static files, its model files by sendfile."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.fakehub.certificates import Certificates
from tests.processes import free_port

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_BLOCK = 1 << 20
_CONFIGURATION = """
worker_processes 2; pid {folder}/pid; error_log {folder}/errors; daemon off; {user}
events {{ worker_connections 512; }}
http {{
  sendfile on; etag off; keepalive_requests 1000000; default_type application/octet-stream;
  log_format bytes '$uri $status $body_bytes_sent'; access_log {folder}/access bytes;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  map_hash_max_size 16384; map_hash_bucket_size 256;
  map $uri $checksum {{ include {folder}/checksums; }}
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; limit_rate {rate}; root {folder}/www;
    ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3;
    location /api/ {{ default_type application/json; try_files $uri.json =404; }}
    location / {{ add_header ETag '"$checksum"'; add_header X-Repo-Commit {commit}; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A Hub as one of its schemes shows it. `files`: paths of all repositories' files, and bytes."""

    scheme: str
    endpoint: str
    trust: str | None
    files: Mapping[str, int]

    def addresses(self, name: str) -> Sequence[str]:
        return [self.endpoint + path for path in self.files if path.startswith(f"/{name}/")]

    def size(self, name: str) -> int:
        return sum(size for path, size in self.files.items() if path.startswith(f"/{name}/"))


class Nginx:
    """Serves the repositories that were added before it was entered. `rate`: bytes/s for each connection, 0 unlimited."""

    def __init__(self, folder: Path, certificates: Certificates, rate: int = 0) -> None:
        self.folder = folder
        self._certificates, self._rate = certificates, rate
        self._checksums: list[str] = []
        self._files: dict[str, int] = {}
        self._ports = {"http": free_port(), "https": free_port()}
        (folder / "www").mkdir(parents=True)

    def port(self, scheme: str) -> int:
        return self._ports[scheme]

    def site(self, scheme: str, port: int | None = None) -> Site:
        """As it is asked at this port, if not at its own."""
        trust = self._certificates.trust if scheme == "https" else None
        return Site(scheme, f"{scheme}://127.0.0.1:{port or self._ports[scheme]}", trust, self._files)

    def add(self, name: str, sizes: dict[str, int], *, lfs: bool = True) -> None:
        """A repository with files of random bytes, of these sizes."""
        files = self.folder / "www" / name / "resolve" / _COMMIT
        tree = []
        for path, size in sizes.items():
            sha256, blob = _make(files / path, size)
            entry = {"type": "file", "path": path, "size": size, "oid": blob}
            if lfs:
                entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": 134}
            tree.append(entry)
            self._checksums.append(f"/{name}/resolve/{_COMMIT}/{path} {sha256 if lfs else blob};")
            self._files[f"/{name}/resolve/{_COMMIT}/{path}"] = size
        self._list(name, tree)

    def revise(self, name: str, revised: str, changed: str) -> None:
        """A repository `revised` of the same files as `name`, but for the content of `changed`."""
        files = self.folder / "www" / name / "resolve" / _COMMIT
        copies = self.folder / "www" / revised / "resolve" / _COMMIT
        shutil.copytree(files, copies, copy_function=os.link)
        (copies / changed).unlink()
        sha256, blob = _make(copies / changed, (files / changed).stat().st_size)
        tree = json.loads((self.folder / "www" / "api" / "models" / name / f"tree/{_COMMIT}.json").read_text())
        for entry in tree:
            if entry["path"] == changed:
                entry["oid"], entry["lfs"]["oid"] = blob, sha256
            self._checksums.append(f"/{revised}/resolve/{_COMMIT}/{entry['path']} {entry['lfs']['oid']};")
        self._list(revised, tree)

    def _list(self, name: str, tree: Sequence[Mapping[str, Any]]) -> None:
        api = self.folder / "www" / "api" / "models" / name
        for place, answer in {
            "auth-check": {},
            "revision/main": {"id": name, "sha": _COMMIT, "siblings": []},
            f"revision/{_COMMIT}": {"id": name, "sha": _COMMIT, "siblings": []},
            f"tree/{_COMMIT}": tree,
        }.items():
            (api / place).parent.mkdir(parents=True, exist_ok=True)
            (api / f"{place}.json").write_text(json.dumps(answer))

    def bytes_sent(self) -> int:
        """Bytes of model files so far."""
        lines = (self.folder / "access").read_text().splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines if "/resolve/" in line)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        program = shutil.which("nginx")
        if program is None:
            raise SystemExit("This benchmark needs nginx: apt-get install nginx-light")
        (self.folder / "checksums").write_text("\n".join(self._checksums))
        user = "user root;" if os.geteuid() == 0 else ""
        text = _CONFIGURATION.format(
            folder=self.folder,
            user=user,
            **self._ports,
            pem=self._certificates.pem,
            rate=self._rate,
            commit=_COMMIT,
        )
        (self.folder / "nginx.conf").write_text(text)
        command = [
            program,
            "-c",
            str(self.folder / "nginx.conf"),
            "-p",
            str(self.folder),
            "-e",
            str(self.folder / "errors"),
        ]
        self._process = subprocess.Popen(command)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self._ports["http"])) == 0:
                    return self
            time.sleep(0.01)
        raise SystemExit(f"nginx did not start: {(self.folder / 'errors').read_text()}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _make(path: Path, size: int) -> tuple[str, str]:
    """Write random bytes; (SHA-256, Git's blob id)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("wb") as output:
        for start in range(0, size, _BLOCK):
            data = os.urandom(min(_BLOCK, size - start))
            sha256.update(data)
            blob.update(data)
            output.write(data)
    return sha256.hexdigest(), blob.hexdigest()
