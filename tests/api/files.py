"""A process that serves a folder's files with the depot's own server: `python -m tests.api.files PORT FOLDER`.

It stands for the routes that send model files, whatever these become. `--drain`, `--patience` are the server's, in
seconds; `--accel PATH` is the setting of that name; `--certificate FILE` has it speak TLS.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import telemetry
from app.db.session import open_database
from app.depot.figures import Figures
from app.depot.metrics import ApiMetrics
from app.depot.volume import Volume
from app.http import middleware
from app.http.server import Server, allow_connections, configured
from app.http.sending import FileRange
from app.standalone.supervisor import answers
from tests.processes import free_port, said, until

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Opened:
    """A file that is open for reading."""

    fd: int
    size: int

    def close(self) -> None:
        os.close(self.fd)


def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drain", type=float, default=30.0)
    parser.add_argument("--patience", type=float, default=20.0)
    parser.add_argument("--certificate")
    options = parser.parse_args()
    telemetry.configure("json")
    allow_connections()
    config = configured(
        _application(options.folder),
        drain=options.drain,
        client_timeout=options.patience,
        trusted_proxies=(),
        certificate=options.certificate,
        key=None,
    )
    Server(config).run(sockets=[socket.create_server(("127.0.0.1", options.port))])


def _application(folder: Path) -> FastAPI:
    ended: list[int] = []

    async def send(request: Request) -> Response:
        fd = os.open(folder / request.path_params["path"], os.O_RDONLY)
        size = os.fstat(fd).st_size
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        if not asked:
            return FileRange(Opened(fd, size), 0, size, 200, {"etag": '"own"', "accept-ranges": "bytes"}, ended.append)
        first, last = int(asked[1]), int(asked[2] or size - 1)
        headers = {"etag": '"own"', "content-range": f"bytes {first}-{last}/{size}"}
        return FileRange(Opened(fd, size), first, last - first + 1, 206, headers, ended.append)

    async def told(_request: Request) -> Response:
        return JSONResponse({"sent": ended, "threads": threading.active_count()})

    routes = [
        Route("/healthz", lambda _: JSONResponse({"status": "ok"})),
        Route("/ended", told),
        Route("/{path:path}", send, methods=["GET", "HEAD"]),
    ]
    app = FastAPI(routes=routes)
    database = open_database("sqlite:////nowhere")  # It is never asked.
    metrics = ApiMetrics(Volume(folder, writes=False, database=database), database, Figures().census)
    middleware.install(app, metrics, log_all=True)
    return app


if __name__ == "__main__":
    serve()
