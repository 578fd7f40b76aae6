"""What must be so before a depot serves: another Hub, a free port, keys whose secrets can be opened."""

import errno
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import structlog

from app.cli.settings import CannotGoOn, WrongSetting, flag_of, variable_of
from app.db.errors import DatabaseUnreachable
from app.depot.bootstrap import CannotAdmit, OwnKey, admit
from app.sealing import Sealer
from app.settings import PREFIX, Settings, split_keys

_LOOK_AGAIN = 2.0
"""Seconds between looks for a database that is away."""

log = structlog.get_logger()


def check_hub(settings: Settings) -> None:
    """Raise `WrongSetting` if the Hub is the API itself: by the public address, or by its port on this machine."""
    own, hub = urlsplit(settings.address), urlsplit(settings.hub_endpoint)
    here = hub.port == settings.port and hub.hostname in {settings.host, "localhost", "127.0.0.1", "::1"}
    if here or (own.hostname, own.port, own.path) == (hub.hostname, hub.port, hub.path):
        raise WrongSetting(
            f"{settings.hub_endpoint} (HF_ENDPOINT or {PREFIX}HUB_ENDPOINT) is this depot's own address, as its clients have "
            "it: unset it, or name the Hub to fetch from"
        )


def listener_at(host: str, port: int, client_timeout: float) -> socket.socket:
    """Return a bound socket. Raises `CannotGoOn`."""
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # The kernel drops a client that takes nothing of a response for so long. Connections inherit it.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(client_timeout * 1000))
            listener.bind(address)
        except OSError as error:
            name = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
            advice = f"choose another {name} with {flag_of(name)} or {variable_of(name)}"
            raise CannotGoOn(f"can't listen on {host}:{port}: {error.strerror}; {advice}") from None
        stack.pop_all()
    return listener


def admit_bootstrap(settings: Settings) -> None:
    """Admit the key, in a thread if the database is unreachable: the API starts anyway."""
    bootstrap = settings.bootstrap_key, settings.bootstrap_secret.get_secret_value()
    own = OwnKey(*bootstrap, name="bootstrap", place=f"{PREFIX}BOOTSTRAP_KEY") if all(bootstrap) else None
    try:
        admit_own(settings, own)
    except DatabaseUnreachable as error:
        log.warning("API keys are checked later", reason=str(error), error=error.cause)
        threading.Thread(target=_admit_later, args=(settings, own), daemon=True).start()


def _admit_later(settings: Settings, own: OwnKey | None) -> None:
    while True:
        time.sleep(_LOOK_AGAIN)
        try:
            admit_own(settings, own)
        except DatabaseUnreachable:
            continue
        except CannotGoOn as error:
            log.error("the API stops", reason=error.message)  # noqa: TRY400  # the reason says it all
            os.kill(os.getpid(), signal.SIGTERM)
        return


def admit_own(settings: Settings, own: OwnKey | None) -> bool:
    """Return whether `own` is new. Raises `DatabaseUnreachable`, `CannotGoOn`."""
    try:
        return admit(settings.database_url, Sealer(split_keys(settings.secret_key)), own)
    except CannotAdmit as error:
        raise CannotGoOn(str(error)) from None
    except DatabaseUnreachable as error:
        if not error.is_lasting:
            raise
        raise CannotGoOn(error.explanation) from None
