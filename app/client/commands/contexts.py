"""`modeldepot login`, `logout` and `contexts`: the depots that the commands use, by name, and the keys for them."""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from app.client.commands.common import complete_context, complete_login
from app.client.commands.options import Group, data_option, epilog, json_option
from app.client.contexts import LOCAL, Contexts, Place, contexts_file, load, save
from app.client.depot import Depot
from app.client.endpoint import base, local_place
from app.client.exits import Wrong
from app.client.tokens import is_overheard
from app.domain.keys import KEY_ID, SECRET, split_token
from app.terminal import print_json, say, table

_WINS = ("DEPOT_URL", "DEPOT_KEY", "DEPOT_SECRET")
"""Variables that go before the context in use."""


@click.command(
    epilog=epilog(
        "modeldepot login https://depot.example.org",
        "modeldepot login https://depot.example.org --name work < key.txt",
    )
)
@click.argument("url", metavar="URL")
@click.option("--name", metavar="NAME", help="What to call it. Default: its host.")
def login(url: str, name: str | None) -> None:
    """Keep a depot's address and your key for it, and use it from now on.

    The key is asked for, and not shown as it is typed; elsewhere than on a terminal it is the first line of standard
    input. It is KEY:SECRET, or the token that `modeldepot key create` prints. The depot is asked whether it takes it
    before it is kept, in a file that only you can read (~/.config/modeldepot/contexts.json). DEPOT_URL, DEPOT_KEY and
    DEPOT_SECRET still win.
    """
    if urlsplit(url := base(url)).username is not None:
        raise Wrong("leave the key out of the address: it is asked for, and nobody sees it")
    name = name or urlsplit(url).netloc
    contexts = load()
    if name == LOCAL:
        raise Wrong(f"{LOCAL!r} is this machine's depot: choose another name with --name")
    if name in contexts.places and contexts.places[name].url != url:
        raise Wrong(
            f"the context {name!r} is of {contexts.places[name].url}: choose another name with --name, "
            f"or remove it first with `modeldepot contexts remove {name}`"
        )
    if is_overheard(url):
        say("others may overhear the key on the way: the depot is at http://", err=True)
    place = Place(url, *_key())
    with Depot(place) as depot:
        depot.models(limit=1)
    save(Contexts({**contexts.places, name: place}, current=name))
    say(f"signed in with the key {place.key_id}; the commands use {url} from now on, as context {name!r}", err=True)
    _warn()


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog=epilog("modeldepot contexts", "modeldepot contexts use work", "modeldepot contexts use local"),
)
@data_option
@json_option
@click.pass_context
def contexts(context: click.Context, /, **given: Any) -> None:
    """List the depots that you are signed in to; `use` chooses one, `remove` forgets one.

    `local` is this machine's. A depot is added by `modeldepot login`.
    """
    if context.invoked_subcommand is None:
        _list(**given)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in given):
        raise click.UsageError(f"put options behind {context.invoked_subcommand!r}, whose they are")


@contexts.command("list", epilog=epilog("modeldepot contexts list", "modeldepot contexts list --json"))
@data_option
@json_option
def list_contexts(**given: Any) -> None:
    """List the depots that you are signed in to.

    The one in use is marked.
    """
    _list(**given)


def _list(data: Path, *, as_json: bool) -> None:
    known = load()
    here = local_place(data.expanduser().absolute())
    keys = {LOCAL: here} | {name: (place.url, place.key_id) for name, place in known.places.items()}
    if as_json:
        found = [
            {"name": name, "url": url, "key": key, "current": name == known.current}
            for name, (url, key) in keys.items()
        ]
        print_json({"contexts": found})
        return
    lines = [("*" if name == known.current else "", name, url, key or "-") for name, (url, key) in keys.items()]
    table([("", "NAME", "URL", "KEY"), *lines])
    _warn()


@contexts.command("use", epilog=epilog("modeldepot contexts use work", "modeldepot contexts use local"))
@click.argument("name", metavar="NAME", shell_complete=complete_context)
def use(name: str) -> None:
    """Have the commands use a depot that you are signed in to.

    `local` is this machine's.
    """
    known = load()
    if name != LOCAL:
        known.named(name)
    save(Contexts(known.places, current=name))
    say(f"the commands use {name!r} from now on", err=True)
    _warn()


@contexts.command("remove", epilog=epilog("modeldepot contexts remove work"))
@click.argument("name", metavar="NAME", shell_complete=complete_login)
def remove(name: str) -> None:
    """Forget a depot and the key for it. The key stays valid: `modeldepot key revoke` at the depot ends that."""
    _forget(name)


@click.command(epilog=epilog("modeldepot logout", "modeldepot logout work"))
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_login)
def logout(name: str | None) -> None:
    """Forget a depot and the key for it: NAME, or the one in use. The same as `contexts remove`.

    The key stays valid: `modeldepot key revoke` at the depot ends that.
    """
    name = name or load().current
    if name == LOCAL:
        raise Wrong(
            "you are not signed in to the depot in use: it is this machine's. `modeldepot contexts` lists others"
        )
    _forget(name)


def _forget(name: str) -> None:
    known = load()
    if name == LOCAL:
        raise Wrong(f"{LOCAL!r} is this machine's depot, which is always there")
    known.named(name)
    left = {one: place for one, place in known.places.items() if one != name}
    current = known.current if known.current in left else LOCAL
    save(Contexts(left, current))
    say(f"{name!r} is removed from {contexts_file()}; in use is {current!r}", err=True)


def _key() -> tuple[str, str]:
    """Read the key's id and secret from the terminal, or from standard input. Raises `Wrong`."""
    if sys.stdin.isatty():
        text = click.prompt("Key, as KEY:SECRET", hide_input=True, err=True).strip()
        if KEY_ID.fullmatch(text) and not split_token(text):
            text = f"{text}:{click.prompt('Secret', hide_input=True, err=True).strip()}"
    else:
        text = sys.stdin.readline().strip()
    key = split_token(text)
    if key is None or not SECRET.fullmatch(key[1]):
        raise Wrong("that is no key: KEY:SECRET is expected, or the token that `modeldepot key create` prints")
    return key


def _warn() -> None:
    """Say which variables go before the context in use."""
    if found := [variable for variable in _WINS if os.environ.get(variable)]:
        say(f"what is set in the environment wins over it: {', '.join(found)}", err=True)
