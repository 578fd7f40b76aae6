"""A client of botocore, set up so that it works with all servers that speak S3's protocol."""

import base64
import hashlib
import time
from typing import Any

from botocore.config import Config
from botocore.loaders import create_loader
from botocore.session import Session

from app.storage.locations import Observe, S3Options

_CONNECT = 15.0
"""Seconds to connect, and seconds that a send may be stuck: urllib3 has one limit for both."""
READ = 60.0
PATIENT = 600.0
"""Seconds to wait for an answer: of most requests, and of those for which a server moves a whole object's bytes."""
_TRIES = 5
_CONNECTIONS = 64
_DESCRIPTION = create_loader()
"""What botocore reads of S3 and its endpoints, in some 60 ms: here once, also for the downloads that are forked later."""
_DESCRIPTION.load_service_model("s3", "service-2")
_DESCRIPTION.load_service_model("s3", "endpoint-rule-set-1")
_DESCRIPTION.load_data("endpoints")
_DESCRIPTION.load_data("partitions")


def connect(session: Session, options: S3Options, patience: float, observe: Observe | None) -> Any:
    """Return a client that waits so many seconds for an answer. It connects at its first request."""
    session.register_component("data_loader", _DESCRIPTION)
    addressing = options.addressing
    if addressing == "auto" and options.endpoint:
        addressing = "path"
    config = Config(
        signature_version="s3v4",  # for presigned addresses, too
        s3={"addressing_style": addressing},
        connect_timeout=_CONNECT,
        read_timeout=patience,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        max_pool_connections=_CONNECTIONS,
        # Many servers refuse the checksums that botocore adds otherwise.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = session.create_client(
        "s3",
        region_name=options.region or session.get_config_variable("region") or "us-east-1",
        endpoint_url=options.endpoint or None,
        aws_access_key_id=options.access_key or None,
        aws_secret_access_key=options.secret_key or None,
        # To botocore an empty AWS_CA_BUNDLE, as compose files pass it, means that no certificate is verified.
        verify=session.get_config_variable("ca_bundle") or True,
        config=config,
    )
    client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    if observe:
        _watch(client, observe)
    return client


def _watch(client: Any, observe: Observe) -> None:
    """Tell `observe` of every request."""

    def begin(context: Any, **_: Any) -> None:
        context["begun"] = time.monotonic()

    def end(context: Any, event_name: str, http_response: Any = None, **_: Any) -> None:
        status = "none" if http_response is None else str(http_response.status_code)
        observe(event_name.rpartition(".")[2], status, time.monotonic() - context["begun"])

    client.meta.events.register("before-call.s3", begin)
    client.meta.events.register("after-call.s3", end)
    client.meta.events.register("after-call-error.s3", end)


def _add_md5(params: Any, **_: Any) -> None:
    """Add the header that MinIO and its relatives want where a request deletes several objects."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
