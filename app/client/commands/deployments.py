"""`modeldepot deployments`: declarations that a model is in use, so that it can't be deleted."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from app.client.commands.common import (
    Attempts,
    as_typed,
    ask_before_removal,
    complete_deployment,
    complete_model,
    depot_options,
    with_depot,
)
from app.client.commands.options import Group, epilog, patterns_argument, quiet_option, wide_option, yes_option
from app.client.depot import Depot, Json
from app.client.names import find_deployment, find_model, matching, newest
from app.terminal import give, print_json, say, table


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog=epilog(
        "modeldepot deployments", "modeldepot deployments add chat acme/chat", "modeldepot deployments rm chat"
    ),
)
@depot_options
@click.pass_context
def deployments(context: click.Context, /, **given: Any) -> None:
    """List the deployments, oldest first; `add` and `rm` declare that a model is in use, or no longer is.

    What serves the model is not touched: a deployment is its word.
    """
    if context.invoked_subcommand is None:
        _list(patterns=(), quiet=False, wide=False, **given)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in given):
        raise click.UsageError(f"put options behind {context.invoked_subcommand!r}, whose they are")


@with_depot
def _list(depot: Depot, patterns: Sequence[str], *, quiet: bool, wide: bool, as_json: bool) -> None:
    kept = depot.deployments()
    found = matching(kept, patterns)
    if as_json:
        print_json({"deployments": found})
    elif quiet:
        for one in found:
            give(one["id"])
    elif found:
        lines = [(one["name"], one["model"]["name"], _gpus(one), one["deployment-url"], one["id"]) for one in found]
        table([("NAME", "MODEL", "GPUS", "URL", "ID"), *lines], wide=wide, spare=("ID",))
    elif kept:
        say("No deployment is like that. `modeldepot deployments` lists all.", err=True)
    else:
        say("There are no deployments: modeldepot deployments add NAME MODEL", err=True)


@deployments.command(
    "list", epilog=epilog("modeldepot deployments list", "modeldepot deployments list 'chat-*' --wide")
)
@depot_options
@patterns_argument
@quiet_option
@wide_option
def list_deployments(patterns: Sequence[str], **given: Any) -> None:
    """List the deployments, oldest first.

    All, or those whose name a pattern such as 'chat-*' matches or a word is in.
    """
    _list(patterns=patterns, **given)


def _web_address(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no address of the web: the API takes any text, and pages link to it."""
    try:
        parts = urlsplit(value or "http://none")
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter("it must look like https://chat.example.org")
    return value


@deployments.command(
    epilog=epilog(
        "modeldepot deployments add embeddings sentence-transformers/all-MiniLM-L6-v2",
        "modeldepot deployments add chat acme/chat --deployment-url https://chat.example.org --gpu-count 2",
    )
)
@with_depot
@click.argument("name")
@click.argument("model", metavar="MODEL", shell_complete=complete_model)
@click.option("--deployment-url", metavar="URL", callback=_web_address, help="Where it serves the model.")
@click.option("--gpu-type", metavar="TEXT", help="The kind of GPU that it runs on.")
@click.option("--gpu-count", type=int, metavar="NUMBER", help="How many GPUs each replica has.")
@click.option("--replicas", type=int, metavar="NUMBER", help="How many replicas there are.")
@click.option("--key", metavar="ID", help="The API key that it pulls the model with: each pull renews the deployment.")
def add(depot: Depot, name: str, model: str, *, as_json: bool, **given: Any) -> None:
    """Declare that NAME uses MODEL, and print the deployment's id.

    MODEL must be ready.
    """
    found = find_model(depot, model, newest)
    body: Json = {"name": name, "model": {"id": found["id"]}}
    body |= {key.replace("_", "-"): value for key, value in given.items() if value is not None}
    with as_typed(model, found):
        operation = depot.create_deployment(body)
    deployment = depot.deployment(operation["reference"]["id"])
    if as_json:
        print_json(deployment)
    else:
        say(deployment["id"])


@deployments.command(
    epilog=epilog(
        "modeldepot deployments rm embeddings",
        "modeldepot deployments list -q 'test-*' | xargs -r modeldepot deployments rm",
    )
)
@with_depot
@click.argument("names", metavar="NAME|ID...", nargs=-1, required=True, shell_complete=complete_deployment)
@yes_option
def rm(depot: Depot, names: Sequence[str], *, yes: bool, as_json: bool) -> None:
    """Declare that deployments no longer use their models."""
    attempts, operations = Attempts(names), []
    found = attempts.found(names, partial(find_deployment, depot)).values()
    if not (yes or as_json):
        ask_before_removal("deployments", [f"{one['name']}, which uses {one['model']['name']}" for one in found])
    for one in found:
        with attempts.of(one["name"]):
            operations.append(depot.delete_deployment(one["id"]))
            if not as_json:
                say(f"{one['name']} is deleted; it used {one['model']['name']}", err=True)
    if as_json:
        attempts.print_json("operations", operations)
    attempts.finish()


def _gpus(deployment: Json) -> str:
    """Format count, type and replicas, as far as known."""
    count, kind, replicas = (deployment.get(key) for key in ("gpu-count", "gpu-type", "replicas"))
    return " ".join(filter(None, (count and f"{count}", kind, replicas and f"x{replicas}"))) or "-"
