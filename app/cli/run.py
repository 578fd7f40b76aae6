"""`modeldepot up`, `serve`, `worker` and `migrate`: they run a depot or a part of it."""

import errno
import os
import shlex
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import click
import structlog
from pydantic import SecretStr

from app import telemetry
from app.cli.prepare import admit_bootstrap, admit_own, migrated
from app.cli.settings import (
    CannotGoOn,
    WrongSetting,
    embedded,
    flag_of,
    flags,
    settings_of,
    variable_of,
)
from app.client.commands.options import data_option, epilog
from app.client.contexts import LOCAL, in_use
from app.console import sign_in_links
from app.db.migrate import revisions
from app.depot.bootstrap import OwnKey
from app.depot.status import CannotListen, listen
from app.http.server import Server, allow_connections, calm_garbage_collection, configured
from app.local import default_data, direct_address, own_command
from app.main import build
from app.sealing import Sealer
from app.settings import PREFIX, Settings, split, split_keys
from app.standalone.folder import CannotRun, DataFolder
from app.standalone.supervisor import GRACE, REDIS_GRACE, Part, Supervisor, answers, launching
from app.terminal import say

_EMBEDDED = MappingProxyType(
    {"database_url": "SQLite in the data folder", "redis_url": "a server in the data folder", "storage": "DATA/storage"}
)
_UP_FLAGS = tuple(
    name
    for name, field in Settings.model_fields.items()
    # Command lines can be read by all users of the machine.
    if field.annotation is not SecretStr and name not in {"bootstrap_key", "s3_access_key"}
)
_BANNER = """
Model Depot is up, after {seconds:.1f} s.

  console  {console}
  API      {address}/v2    (described at {address}/docs)
  models   {storage}
  data     {data}
  key      {key}
  logs     here, and those of the embedded Redis in {redis_log}
  stop     Ctrl-C

Fetch a model, in another terminal:

  {command} pull sentence-transformers/all-MiniLM-L6-v2{flag}

or with curl:

  curl -s {address}/v2/ai/model -H "Authorization: Bearer $(cat {key_file})" \\
    -H 'Content-Type: application/json' -d '{{"name": "sentence-transformers/all-MiniLM-L6-v2"}}'

or with exo, Exoscale's command line:

  export EXOSCALE_API_ENDPOINT={address}/v2 EXOSCALE_ZONE={zone}
  export EXOSCALE_API_KEY="$(cut -d: -f1 {key_file})" EXOSCALE_API_SECRET="$(cut -d: -f2 {key_file})"
  exo dedicated-inference model list
"""

log = structlog.get_logger()


@click.command(epilog=epilog("modeldepot up", "modeldepot up --port 9000 --data /srv/depot"))
@data_option
@flags(*_UP_FLAGS, defaults=_EMBEDDED)
def up(data: Path, **given: str | None) -> None:
    """Run everything on this machine.

    That is the API and a worker, with a database and a Redis server of their own. Nothing needs to be set up first,
    and nothing is left running afterwards. What was fetched is there again at the next start.

    A flag wins over its environment variable, which stands in brackets. The secret key that seals tokens is made at
    the first start (DATA/secret.key) unless DEPOT_SECRET_KEY or DEPOT_SECRET_KEY_FILE is set.
    """
    begun = time.monotonic()
    folder = DataFolder(data.expanduser().absolute())
    try:
        folder.prepare()
    except OSError as error:
        raise WrongSetting(f"--data ({PREFIX}DATA): can't use {folder.path}: {error.strerror}") from None
    settings = settings_of(given, embedded(folder))
    _check_hub(settings)
    telemetry.configure(settings.log_format)
    try:
        _supervise(settings, folder, begun)
    except CannotRun as error:
        raise CannotGoOn(str(error)) from None


@click.command(
    epilog=epilog(
        "modeldepot serve --host 0.0.0.0 --port 8080",
        "DEPOT_DATABASE_URL=postgresql://depot:…@db/depot DEPOT_REDIS_URL=redis://redis:6379/0 \\",
        "DEPOT_STORAGE=/models DEPOT_SECRET_KEY_FILE=/run/secrets/depot modeldepot serve --host 0.0.0.0",
    )
)
@flags("host", "port", "root_path", "metrics_host", "metrics_port", "verbose")
def serve(**given: str | None) -> None:
    """Run the API.

    It never fetches anything itself: that is the workers' part.
    """
    settings = settings_of(given)
    _check_hub(settings)
    telemetry.configure(settings.log_format)
    # uvicorn re-raises the signal that stopped it, but a requested stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    if os.environ.get(f"{PREFIX}LIFELINE") == "1":
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        watched_at = listen(settings.metrics_host, settings.metrics_port)
    except CannotListen as error:
        raise CannotGoOn(str(error)) from None
    admit_bootstrap(settings)
    try:
        config = configured(
            build(settings, watched_at=watched_at),
            drain=settings.drain,
            client_timeout=settings.client_timeout,
            trusted_proxies=split(settings.trusted_proxies),
            certificate=settings.tls_certificate or None,
            key=settings.tls_key or None,
        )
    except OSError as error:
        raise CannotGoOn(f"{PREFIX}TLS_CERTIFICATE and {PREFIX}TLS_KEY can't be used: {error}") from None
    allow_connections()
    calm_garbage_collection()
    server = Server(config)
    with _listen(settings.host, settings.port, settings.client_timeout) as listener:
        server.run(sockets=[listener])
    if not server.started:
        raise CannotGoOn("the API didn't start; the reason stands above")


@click.command(epilog=epilog("modeldepot worker"))
def worker() -> None:
    """Run one worker: it fetches, verifies and deletes models. Start as many as you like.

    It needs the same settings as the API, and the same folder at DEPOT_STORAGE.
    """
    settings_of({})
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker.main"])  # noqa: S606  # our own words


@click.command(epilog=epilog("modeldepot migrate"))
def migrate() -> None:
    """Bring the database to the shape that this version expects. Run it before the new version starts.

    It may run again, or twice at a time, and waits up to 30 seconds for a database that is still starting. A newer
    version's database is left as it is, if this version works with it.
    """
    settings = settings_of({})
    telemetry.configure(settings.log_format)
    revision, these = migrated(settings.database_url), revisions()
    newer = f", newer than this version's {these.head}, which works with it: nothing to do"
    say(f"the database is at revision {revision}{'' if revision in these.known else newer}")


def _supervise(settings: Settings, folder: DataFolder, begun: float) -> None:
    own, is_new = OwnKey(*folder.own_api_key(), name="modeldepot up", place=str(folder.api_key)), False

    def greet() -> None:
        folder.say_where(direct_address(settings.host, settings.port))
        say(*_greeting(settings, folder, own, is_new=is_new, seconds=time.monotonic() - begun).split("\n"))

    with ExitStack() as stack:
        lock = stack.enter_context(folder.claimed())
        _listen(settings.host, settings.port, settings.client_timeout).close()
        migrated(settings.database_url)
        is_new = admit_own(settings, own)
        launch = stack.enter_context(launching(inherits=[lock]))
        # The worker's metrics are at metrics_port.
        watched_at = ["--metrics-port", str(settings.metrics_port + 1)] if settings.metrics_port else []
        api = Part("api", partial(launch, "-m", "app.cli", "serve", *watched_at), max(GRACE, settings.drain + 1))
        hands = Part("worker", partial(launch, "-m", "worker.main"))
        own_redis = settings.redis_url == folder.redis.url
        base = [Part("redis", folder.redis.start, REDIS_GRACE)] if own_redis else []
        ready = partial(answers, settings.host, settings.port, tls=bool(settings.tls_certificate))
        Supervisor([api, hands], base, answers=ready, greet=greet).run()


def _greeting(settings: Settings, folder: DataFolder, own: OwnKey, *, is_new: bool, seconds: float) -> str:
    key, console = f"in {folder.api_key}", f"{settings.address}/console    (sign in with the key)"
    # Other output than a terminal is a log: keep secrets out.
    if sys.stdout.isatty():
        link = sign_in_links.new(Sealer(split_keys(settings.secret_key)), settings.address, own.key_id)
        console = f"{link}\n           (signs in once, within an hour; after that, use the key)"
        if is_new:
            key = f"{own.key_id}:{own.secret}  (new; kept in {folder.api_key})"
    return _BANNER.format(
        seconds=seconds,
        console=console,
        key=key,
        key_file=shlex.quote(str(folder.api_key)),
        address=settings.address,
        zone=settings.zone,
        storage=settings.storage,
        data=folder.path,
        redis_log=folder.redis.log,
        command=own_command(),
        flag=_flag(folder.path),
    )


def _flag(data: Path) -> str:
    """Return the option by which the user's commands find this depot, if they need one."""
    if data != default_data():
        return f" --data {shlex.quote(str(data))}"
    return "" if in_use() == LOCAL else f" --context {LOCAL}"


def _listen(host: str, port: int, client_timeout: float) -> socket.socket:
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


def _check_hub(settings: Settings) -> None:
    """Raise `WrongSetting` if the Hub is the API itself: by the public address, or by its port on this machine."""
    own, hub = urlsplit(settings.address), urlsplit(settings.hub_endpoint)
    here = hub.port == settings.port and hub.hostname in {settings.host, "localhost", "127.0.0.1", "::1"}
    if here or (own.hostname, own.port, own.path) == (hub.hostname, hub.port, hub.path):
        raise WrongSetting(
            f"{settings.hub_endpoint} (HF_ENDPOINT or {PREFIX}HUB_ENDPOINT) is this depot's own address, as its clients have "
            "it: unset it, or name the Hub to fetch from"
        )


def _stop_at_end_of_input() -> None:
    """Send SIGTERM to this process once its parent, which holds the other end of standard input, is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
