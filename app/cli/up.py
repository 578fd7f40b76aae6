"""`modeldepot up`: a depot on one machine.

It runs for as long as its parts do, so what only the API is made of is not imported here.
"""

import shlex
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType

import click
from pydantic import SecretStr

from app import telemetry
from app.cli.migrate import migrated
from app.cli.prepare import admit_own, check_hub, listener_at
from app.cli.settings import CannotGoOn, WrongSetting, embedded, flags, settings_of
from app.client.commands.options import data_option, epilog
from app.client.contexts import LOCAL, in_use
from app.console import sign_in_links
from app.depot.bootstrap import OwnKey
from app.local import default_data, direct_address, own_command
from app.sealing import Sealer
from app.settings import PREFIX, Settings, split_keys
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
    check_hub(settings)
    telemetry.configure(settings.log_format)
    try:
        _supervise(settings, folder, begun)
    except CannotRun as error:
        raise CannotGoOn(str(error)) from None


def _supervise(settings: Settings, folder: DataFolder, begun: float) -> None:
    own, is_new = OwnKey(*folder.own_api_key(), name="modeldepot up", place=str(folder.api_key)), False

    def greet() -> None:
        folder.say_where(direct_address(settings.host, settings.port))
        say(*_greeting(settings, folder, own, is_new=is_new, seconds=time.monotonic() - begun).split("\n"))

    with ExitStack() as stack:
        lock = stack.enter_context(folder.claimed())
        listener_at(settings.host, settings.port, settings.client_timeout).close()
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
