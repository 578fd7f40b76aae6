"""Fetches bytes of large files from the Hub's content store, with hf_xet.

hf_xet only gets a token for the store, never the caller's own: that is sent to the Hub's origin only, by the client
for all calls to its API. hf_xet does not verify the bytes.
"""

import importlib
import threading
import time
from datetime import timedelta
from typing import Any

import httpx2
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._xet import XetConnectionInfo

from app.domain.errors import Reason
from worker.download.answers import Trouble
from worker.download.hub import Hub
from worker.download.listing import HubFile
from worker.download.retries import RetryPolicy

_FRESH = 30.0
"""Seconds that a token must still be valid to be used for another request."""
_INNER = RetryPolicy(backoff=0.5, limit=1)
"""How hf_xet itself retries a failed request: five times and minutes by default."""


class Refused(Exception):
    """The Hub gives no access to its content store."""


class Store:
    """The content store, for the files of one commit."""

    def __init__(self, hub: Hub, commit: str, window: float) -> None:
        """`window`: seconds without a byte after which hf_xet aborts a request."""
        self._hub, self._commit = hub, commit
        self._window = timedelta(seconds=window)
        self._lock = threading.Lock()
        self._session: Any = None
        self._group: Any = None
        self._good_until = 0.0

    def fetch(self, file: HubFile, start: int, end: int) -> list[bytes]:
        """Return bytes `start` to `end` of a file. Raises `Trouble`, `Refused`, or `Failed` for a store inside."""
        with self._lock:
            if self._group is None or time.time() > self._good_until:
                self._group = self._open(self._access())
            group = self._group
        try:
            info = hf_xet().XetFileInfo(file.xet, file.size)
            chunks = list(group.download_stream(info, start=start, end=end))
        except BaseException as error:  # a Rust panic is not an Exception
            self._close(group)
            raise Trouble(Reason.UNAVAILABLE, f"The Hub's content store failed ({type(error).__name__}).") from error
        if sum(map(len, chunks)) != end - start:
            raise Trouble(Reason.UNAVAILABLE, f"The Hub's content store does not have all of {file.path!r}.")
        return chunks

    def _open(self, access: XetConnectionInfo) -> Any:
        """Return a group for requests to the store, valid as long as the token."""
        self._good_until = access.expiration_unix_epoch - _FRESH
        limits = {
            "read_timeout": self._window,
            "retry_max_attempts": _INNER.limit,
            "retry_base_delay": timedelta(seconds=_INNER.backoff),
        }
        try:
            if self._session is None:
                config = hf_xet().XetConfig().with_config({f"client.{name}": value for name, value in limits.items()})
                self._session = hf_xet().XetSession(config)
            return self._session.new_download_stream_group(
                endpoint=access.endpoint,
                token=access.access_token,
                token_expiry_unix_secs=access.expiration_unix_epoch,
            )
        except BaseException as error:  # likewise
            raise Refused(f"hf_xet does not work ({type(error).__name__})") from error

    def _close(self, group: Any) -> None:
        """Request a new token before the next request: this one may be the cause of the failure."""
        with self._lock:
            if self._group is group:
                self._group = None

    def _access(self) -> XetConnectionInfo:
        try:
            return self._hub.store_access(self._commit)
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status in {401, 403, 404}:
                raise Refused(f"the Hub answered {status}") from error
            raise Trouble(Reason.UNAVAILABLE, f"The Hub answered {status} to a request for Xet's token.") from error
        except httpx2.HTTPError as error:
            raise Trouble(Reason.UNAVAILABLE, "The Hub could not be asked for Xet's token.") from error
        except ValueError as error:
            raise Refused("the Hub names no content store") from error


def hf_xet() -> Any:
    """Import hf_xet only here because it starts a thread: the fork server must have no other threads."""
    return importlib.import_module("hf_xet")
