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
from pathlib import Path
from typing import Any, Self

import httpx2
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import telemetry
from app.db.session import open_database
from app.depot.figures import Figures
from app.depot.metrics import ApiMetrics
from app.depot.volume import Volume
from app.http import middleware
from app.http.accel import Accel
from app.http.sending import FileRange
from app.http.server import Server, allow_connections, configured
from app.standalone.supervisor import answers
from app.storage import open_store
from app.storage.reading import LocalFile
from tests.processes import free_port, until

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drain", type=float, default=30.0)
    parser.add_argument("--patience", type=float, default=20.0)
    parser.add_argument("--accel", default="")
    parser.add_argument("--certificate")
    options = parser.parse_args()
    telemetry.configure("json")
    allow_connections()
    config = configured(
        _application(options.folder, options.accel),
        drain=options.drain,
        client_timeout=options.patience,
        trusted_proxies=(),
        certificate=options.certificate,
        key=None,
    )
    Server(config).run(sockets=[socket.create_server(("127.0.0.1", options.port))])


def _application(folder: Path, accel: str) -> FastAPI:
    ended: list[int] = []
    copied: list[int] = []

    async def send(request: Request) -> Response:
        try:
            fd = os.open(folder / request.path_params["path"], os.O_RDONLY)
        except FileNotFoundError:
            return Response(status_code=404)
        size = os.fstat(fd).st_size
        headers = {"etag": '"own"', "x-linked-etag": '"own"', "x-repo-commit": "c0ffee", "accept-ranges": "bytes"}
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        if not asked:
            return FileRange(LocalFile(fd, size), 0, size, 200, headers, ended.append)
        first, last = int(asked[1]), int(asked[2] or size - 1)
        headers["content-range"] = f"bytes {first}-{last}/{size}"
        return FileRange(LocalFile(fd, size), first, last - first + 1, 206, headers, ended.append)

    async def told(_request: Request) -> Response:
        return JSONResponse({"sent": ended, "copied": sum(copied), "threads": threading.active_count()})

    async def healthy(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    routes: list[BaseRoute] = [
        Route("/healthz", healthy),
        Route("/ended", told),
        Route("/{path:path}", send, methods=["GET", "HEAD"]),
    ]
    app = FastAPI(routes=routes)
    if accel:
        app.add_middleware(Accel, root=folder, prefix=accel)
    app.add_middleware(_Counted, copied=copied)
    database = open_database("sqlite:////nowhere")  # It is never asked.
    metrics = ApiMetrics(Volume(open_store(folder), writes=False, database=database), database, Figures())
    middleware.install(app, metrics, log_all=True)
    return app


class _Counted:
    """What goes out behind `Accel`: bytes of bodies, and of files that the server is asked to send."""

    def __init__(self, app: ASGIApp, copied: list[int]) -> None:
        self._app, self._copied = app, copied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if scope["path"] != "/ended":
                self._copied.append(message.get("count", len(message.get("body", b""))))
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


class Process:
    """That process for `folder`, from `with` to the end of it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port, self._options = folder, free_port(), options
        self.log = folder.with_name(f"{self.port}.log")

    def __enter__(self) -> Self:
        words = [sys.executable, "-m", "tests.api.files", str(self.port), str(self.folder), *self._options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        tls = "--certificate" in self._options
        until(lambda: answers("127.0.0.1", self.port, tls=tls) or self.process.poll() is not None, self.logs)
        assert self.process.poll() is None, self.logs()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert "Traceback" not in self.logs(), self.logs()

    def ended(self) -> dict[str, Any]:
        """How many bytes each answer sent, in the order of their ends; bytes that left the process; its threads."""
        answer: dict[str, Any] = httpx2.get(f"http://127.0.0.1:{self.port}/ended", timeout=60).json()
        return answer

    def logs(self) -> str:
        return self.log.read_text(errors="replace")


if __name__ == "__main__":
    serve()
