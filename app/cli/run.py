"""`modeldepot serve` and `worker`: each runs a part of a depot."""

import os
import signal
import sys
import threading

import click

from app import telemetry
from app.cli.prepare import admit_bootstrap, check_hub, listener_at
from app.cli.settings import CannotGoOn, flags, settings_of
from app.client.commands.options import epilog
from app.depot.status import CannotListen, listen
from app.http.server import Server, allow_connections, calm_garbage_collection, configured
from app.main import build
from app.settings import PREFIX, split


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
    check_hub(settings)
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
    with listener_at(settings.host, settings.port, settings.client_timeout) as listener:
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


def _stop_at_end_of_input() -> None:
    """Send SIGTERM to this process once its parent, which holds the other end of standard input, is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
