"""Sends the messages of webhooks to their receiver, signed as the Standard Webhooks specification has it.

Every worker does, one message at a time. Workers have the way out of the network that an API may lack, and there is one
wherever a model becomes ready. A claim in the database keeps two from sending the same message; after a kill in the
middle the message is sent again, and its id tells the receiver.
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.domain.errors import Failed
from app.services import webhooks
from app.services.webhooks import Message
from worker.download.addresses import is_inside
from worker.download.proxies import proxy_for

_ANSWER = 10.0
"""Seconds within which the receiver has to answer, name resolution and connection included."""
_LONGEST_BACKOFF = 3600.0
_INSIDE = (
    "The receiver's address is one of the worker's own machine or cloud, where nothing is sent. "
    "If it is meant, set DEPOT_WEBHOOK_INSIDE=true for the workers."
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where messages go, and how they are signed. Durations are in seconds."""

    url: str
    """May hold a secret: it is in no log and in no error."""
    keys: Sequence[bytes]
    """Each signs: the receiver may know any of them."""
    inside: bool
    """Whether the receiver may have an address of this machine or its cloud."""
    backoff: float
    """The wait after the first attempt; it doubles."""
    lease: float
    """How long a message waits for a worker that was killed with it."""
    poll_interval: float


class _NotDelivered(Exception):
    """An attempt failed. The message says why, and names no address."""


async def send(database: Database, options: WebhookOptions) -> None:
    """Send what is due until cancelled, if there is a receiver."""
    if options.url:
        await WebhookSender(database, options).run()


class WebhookSender:
    """Claims messages and sends them, one after another."""

    def __init__(self, database: Database, options: WebhookOptions) -> None:
        self._database = database
        self._options = options
        self._tls = ssl.create_default_context()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                sent = await self.send_next()
            except DatabaseUnreachable as error:
                log.warning("the database can't be used", reason=str(error), error=error.cause)
                sent = False
            if not sent:
                await asyncio.sleep(self._options.poll_interval)

    async def send_next(self) -> bool:
        """Send the message that has been due longest. Return False if none is due."""
        async with self._database.begin() as connection:
            message = await webhooks.claim(connection, seconds=self._options.lease + _ANSWER)
        if message is None:
            return False
        fields = {"webhook_id": message.id, "event_type": message.event, "attempt": message.attempts}
        try:
            await self._post(message)
        except _NotDelivered as error:
            after = min(self._options.backoff * 2 ** min(message.attempts - 1, 30), _LONGEST_BACKOFF)
            async with self._database.begin() as connection:
                await webhooks.failed(connection, message, str(error), after=after)
            log.warning("webhook is not delivered", reason=str(error), wait=after, **fields)
            return True
        async with self._database.begin() as connection:
            await webhooks.delivered(connection, message)
        log.info("webhook is delivered", **fields)
        return True

    async def _post(self, message: Message) -> None:
        """Send one message. Raises `_NotDelivered` unless the receiver answers that it has it."""
        try:
            async with asyncio.timeout(_ANSWER):
                status = await self._ask(message)
        except (TimeoutError, httpx2.TimeoutException):
            raise _NotDelivered(f"The receiver did not answer within {_ANSWER:.0f} s.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError) as error:
            raise _NotDelivered(_explained(error)) from None
        except Failed:  # of the proxy, in words about the Hub
            raise _NotDelivered(
                "The environment names a kind of proxy that is not supported: see HTTPS_PROXY."
            ) from None
        if 300 <= status < 400:
            raise _NotDelivered(f"The receiver answers {status}, a redirect, which is not followed: correct its URL.")
        if not 200 <= status < 300:
            raise _NotDelivered(f"The receiver answers {status}.")

    async def _ask(self, message: Message) -> int:
        """Return the status of the receiver's answer, whose body is not read."""
        url, extensions = self._options.url, {}
        proxy = proxy_for(url)
        if not self._options.inside:
            host = urlsplit(url).hostname or ""
            if host == "localhost" or is_inside(host):
                raise _NotDelivered(_INSIDE)
            if proxy is None:
                extensions["trace"] = _refuse_inside
        # A client for each message: a connection that is kept would be to an address that was right then.
        client = httpx2.AsyncClient(
            verify=self._tls, trust_env=False, proxy=proxy, follow_redirects=False, timeout=_ANSWER
        )
        body = message.body.encode()
        headers = signed(str(message.id), int(time.time()), body, self._options.keys)
        async with client, client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer:
            return int(answer.status_code)


def signed(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a message, with its signatures. `timestamp` is in seconds since 1970."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "content-type": "application/json",
        "user-agent": "modeldepot",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


async def _refuse_inside(event: str, told: dict[str, Any]) -> None:
    """Check a connection's address before anything is sent: a name may resolve to another one at each attempt."""
    if event == "connection.connect_tcp.complete":
        stream = told["return_value"]
        peer = stream.get_extra_info("server_addr")
        if peer and is_inside(str(peer[0])):
            await stream.aclose()
            raise _NotDelivered(_INSIDE)


def _explained(error: Exception) -> str:
    """Say why the receiver can't be reached; the library's own words may hold its address."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "The receiver's certificate is not trusted: name its authority's file in SSL_CERT_FILE for the workers."
    return f"The receiver can't be reached ({type(error).__name__})."
