"""A Hugging Face Hub on loopback: the real protocol over real sockets, with every fault a Hub can have.

As a context manager in tests::

    with Hub() as hub:
        repo = hub.add("acme/tiny", {"config.json": b"{}", "model.safetensors": Synthetic(2 << 30)})
        hub.misbehave(Fault("reset", path="*.safetensors", after_bytes=1 << 20))
        snapshot_download("acme/tiny", endpoint=hub.endpoint)

By hand: `python -m tests.fakehub FOLDER --port 8090` serves FOLDER/owner/name/* to whoever sets HF_ENDPOINT.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.fakehub.content import Content, Synthetic
from tests.fakehub.exchange import Answer, Log, Request
from tests.fakehub.faults import Fault, FaultKind, Faults
from tests.fakehub.protocol import Protocol
from tests.fakehub.repository import Account, Catalogue, Files, Repo
from tests.fakehub.wire import Reply, Server

if TYPE_CHECKING:  # what it is made with is not in the image, in which the fleet's test runs this
    from tests.fakehub.certificates import Certificates

__all__ = ["Account", "Content", "Fault", "FaultKind", "Files", "Hub", "Repo", "Request", "Synthetic"]

LOOPBACK = "127.0.0.1"


class Hub(Catalogue):
    """A Hub and its CDN, from `with` to the end of it; `add` and `account` of the catalogue say what it holds."""

    endpoint: str
    cdn: str
    """Another origin, by port and by name: large files are there, behind signed links."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        certificates: "Certificates | None" = None,
    ) -> None:
        """`host` is where it listens and what its links name; elsewhere than on loopback, its CDN has no other name.

        With `certificates` all of it is https, and a client has to trust their authority.
        """
        super().__init__()
        self.rate: int | None = None
        """Bytes a second that each connection gets."""
        self.most_transfers: int | None = None
        """How many files are sent at once; other requests for one are answered with `when_crowded`."""
        self.when_crowded = 429
        self.total_rate: int | None = None
        self._sending: set[Request] = set()
        self._admitting = threading.Lock()
        self._log = Log()
        self._faults = Faults()
        self._host, self._port = host, port
        self._tls = certificates.tls if certificates else None
        self.trust = certificates.trust if certificates else None
        if folder is not None:
            self.add_folder(folder)

    def __enter__(self) -> Self:
        self._server = Server(self._reply, self._log, self, self._host, self._port, self._tls)
        scheme = "https" if self._tls else "http"
        self.endpoint = f"{scheme}://{self._host}:{self._server.port('hub')}"
        self.cdn = f"{scheme}://{'localhost' if self._host == LOOPBACK else self._host}:{self._server.port('cdn')}"
        cas = f"{scheme}://{self._host}:{self._server.port('cas')}"
        self._protocol = Protocol(self, self._faults, self.endpoint, self.cdn, cas)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.xet.close()

    @property
    def requests(self) -> list[Request]:
        """All so far, oldest first. One that is being answered still changes."""
        return self._log.snapshot()

    def forget(self) -> None:
        """Empties the log of requests."""
        self._log.clear()

    def bytes_sent(self, path: str | None = None) -> int:
        """Bytes of files that were sent, of all (xorbs included) or of the one with this path."""
        carrying = (request for request in self.requests if request.place in {"file", "xorb"})
        sent = (request for request in carrying if request.status in {200, 206})
        return sum(request.bytes_sent for request in sent if path in {None, request.file})

    def wait(self, until: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Until the condition holds, which is looked at whenever a request comes or ends, or a block is sent."""
        return self._log.wait(until, seconds)

    def misbehave(self, *faults: Fault) -> None:
        for fault in faults:
            self._faults.add(fault)

    def behave(self) -> None:
        """No more faults. Who is stalled remains so."""
        self._faults.clear()

    def _reply(self, request: Request) -> Reply:
        answer = self._protocol.answer(request)
        if request.place == "file" and not self._admits(request):
            return Reply(Answer(self.when_crowded), None)
        fault = self._faults.take(request, answer)
        if fault is None:
            return Reply(answer, None)
        request.fault = fault.kind
        return Reply(fault.spoil(request, answer), fault if fault.breaks else None)

    def _admits(self, request: Request) -> bool:
        with self._admitting:
            self._sending = {one for one in self._sending if one.finished is None}
            admitted = self.most_transfers is None or len(self._sending) < self.most_transfers
            if admitted:
                self._sending.add(request)
            return admitted
