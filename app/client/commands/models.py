"""`modeldepot ls`, `show`, `rm` and `wait`: a depot's models, from a terminal."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import click

from app.client.commands.common import Attempts, ask_before_removal, complete_model, followed, with_depot
from app.client.commands.options import epilog, patterns_argument, quiet_option, wide_option, yes_option
from app.client.depot import Depot, Json
from app.client.exits import InTheWay, NotThere
from app.client.following import check, within
from app.client.names import arriving, find_model, is_id, matching, newest, selection
from app.client.progress import describe, percent
from app.domain.pasted import quantization_of
from app.domain.states import DELETING, LISTED, PAUSED, ModelStatus
from app.terminal import amount, give, many, print_json, say, size, table, when

_Function = TypeVar("_Function", bound=Callable[..., None])


def _model_argument(function: _Function) -> _Function:
    return click.argument("model", metavar="NAME|ID", shell_complete=complete_model)(function)


@click.command(
    epilog=epilog(
        "modeldepot ls",
        "modeldepot ls 'meta-llama/*' GGUF",
        "modeldepot ls -q --status error | xargs -r modeldepot rm",
    )
)
@with_depot
@patterns_argument
@click.option(
    "--status",
    type=click.Choice(list(map(str, LISTED))),
    help="Those with this status.",
)
@quiet_option
@wide_option
def ls(depot: Depot, patterns: Sequence[str], status: str | None, *, quiet: bool, wide: bool, as_json: bool) -> None:
    """List the models, oldest first: all, or those whose name a pattern such as 'acme/*' matches or a word is in."""
    kept = depot.models()
    models = [model for model in matching(kept, patterns) if status in {None, _state(model)}]
    if as_json:
        print_json({"models": models})
    elif quiet:
        for model in models:
            give(model["id"])
    elif models:
        _table(models, wide=wide)
    elif kept:
        say("No model is like that. `modeldepot ls` lists all.", err=True)
    else:
        say("There are no models yet: modeldepot pull OWNER/NAME", err=True)


def _table(models: Sequence[Json], *, wide: bool) -> None:
    """Print a line for each model; on a terminal also its age, and no patterns where the quantization tells it apart."""
    current = {model["id"] for model in newest(models)}
    on_terminal = sys.stdout.isatty()
    tags = [quantization_of(model["include"]) for model in models]
    alike = Counter((model["name"], model["revision"], tag) for model, tag in zip(models, tags, strict=True))

    def chosen(model: Json, tag: str) -> str:
        is_told = tag and on_terminal and not wide and alike[model["name"], model["revision"], tag] == 1
        return selection(model | {"include": []} if is_told else model)

    titles = ("NAME", *["QUANT"] * any(tags), "STATUS", "SIZE", *["CREATED"] * on_terminal, "LAST PULLED", "ID", "")
    lines = [
        (
            model["name"],
            *[tag] * any(tags),
            _status(model, is_newest=model["id"] in current),
            size(model["model-size"] or model["total"]),
            *[when(model["created-at"])] * on_terminal,
            when(model.get("last-pulled-at")),
            model["id"],
            chosen(model, tag),
        )
        for model, tag in zip(models, tags, strict=True)
    ]
    table([titles, *lines], wide=wide, spare=("ID", "LAST PULLED"))


@click.command(
    epilog=epilog(
        "modeldepot show sentence-transformers/all-MiniLM-L6-v2",
        "modeldepot show all-MiniLM-L6-v2 --files",
        "modeldepot show acme/chat@v1.0 --json",
    )
)
@with_depot
@_model_argument
@click.option("--files", is_flag=True, help="List the files of a ready model, with their SHA-256, instead.")
@wide_option
def show(depot: Depot, model: str, *, files: bool, wide: bool, as_json: bool) -> None:
    """Show all about one model."""
    found = find_model(depot, model, newest)
    if files:
        listed = depot.files(found["id"])
        if as_json:
            print_json({"files": listed})
        else:
            lines = [(file["sha256"], amount(file["size"]), file["path"]) for file in listed]
            table([("SHA-256", "SIZE", "PATH"), *lines], wide=wide, spare=("SHA-256",))
        return
    if as_json:
        print_json(found)
        return
    users = [deployment["name"] for deployment in _users(depot, found)]
    told = {
        "name": found["name"],
        "id": found["id"],
        "status": describe(found),
        "reason": found["reason"],
        "message": found["message"],
        "priority": found.get("priority"),
        "path": found.get("path"),
        "size": found["model-size"] and f"{size(found['model-size'])} ({found['model-size']:,} bytes)",
        "arrived": found["status"] == ModelStatus.DOWNLOADING
        and f"{size(found['downloaded'])} of {size(found['total'])}",
        "selection": selection(found),
        "commit": found["commit"],
        "follows": found.get("follows"),
        "update": _moved(found) and f"{found['follows'] or found['revision']} is at {found['latest']} on the Hub",
        "used by": ", ".join(users),
        "pulled": _pulled(found),
        "created": _time(found["created-at"]),
        "updated": _time(found["updated-at"]),
    }
    for title, value in told.items():
        if value:
            say(f"{title:<10} {value}")


def _moved(model: Json) -> bool:
    """Return whether a ready model's branch was elsewhere when the depot last looked."""
    return model["status"] == ModelStatus.READY and model.get("latest") not in {None, model["commit"]}


def _pulled(model: Json) -> str:
    """Say how often the model was pulled by name, and the last time; empty if never."""
    if not model.get("last-pulled-at"):
        return ""
    by, using = (model.get(f"last-pulled-{which}") for which in ("by", "with"))
    last = f"{_time(model['last-pulled-at'])}{f' by {by}' if by else ''}{f' with {using}' if using else ''}"
    return f"{many(model['pulls'], 'time')}, {size(model['bytes-sent'])}, last {last}"


def _time(moment: str) -> str:
    """Format a time, on a terminal with its distance from now."""
    return moment if (distance := when(moment)) == moment else f"{moment} ({distance})"


@click.command(
    epilog=epilog(
        "modeldepot rm sentence-transformers/all-MiniLM-L6-v2",
        "modeldepot rm acme/chat acme/embeddings --yes",
        "modeldepot ls -q --status error | xargs -r modeldepot rm",
    )
)
@with_depot
@click.argument("models", metavar="NAME|ID...", nargs=-1, required=True, shell_complete=complete_model)
@yes_option
@click.option("--wait/--no-wait", default=True, help="Whether to wait until they are gone. Default: wait.")
def rm(depot: Depot, models: Sequence[str], *, yes: bool, wait: bool, as_json: bool) -> None:
    """Delete models; what still fetches them is stopped. Refused while deployments use them."""
    attempts, operations = Attempts(models), {}
    found = attempts.found(models, partial(find_model, depot))
    if not (yes or as_json):
        ask_before_removal("models", list(map(_in_a_line, found.values())))
    for model_id, model in found.items():
        with attempts.of(model["name"]):
            operations[model_id] = _delete(depot, model)
    for model_id, operation in operations.items():
        name = found[model_id]["name"]
        with attempts.of(name):
            if wait:
                followed(depot, model_id, operation["id"], name=operation["id"], progress=False)
                operations[model_id] = depot.operation(operation["id"])
            if not as_json:
                say(f"{name} is {'gone' if wait else 'being deleted'}", err=True)
    if as_json:
        attempts.print_json("operations", list(operations.values()))
    attempts.finish()


def _in_a_line(model: Json) -> str:
    return " ".join(filter(None, (model["name"], f"({size(model['model-size'])})", selection(model))))


def _delete(depot: Depot, model: Json) -> Json:
    """Return the operation. Raises `InTheWay` with the deployments that use the model."""
    try:
        return depot.delete_model(model["id"])
    except InTheWay:
        users = [f"  {user['name']}  {user['id']}" for user in _users(depot, model)]
        if not users:
            raise
        what = "Once nothing serves it, remove them with `modeldepot deployments rm NAME`, then remove the model"
        raise InTheWay(f"{model['name']} is in use by:", *users, what) from None


@click.command(
    epilog=epilog(
        "modeldepot wait sentence-transformers/all-MiniLM-L6-v2 --timeout 600",
        "modeldepot pull acme/chat acme/embeddings --detach | xargs -r modeldepot wait",
    )
)
@with_depot
@click.argument("what", metavar="OPERATION|NAME|ID...", nargs=-1, required=True, shell_complete=complete_model)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long to wait, for all together. Default: as long as it takes.",
)
def wait(depot: Depot, what: Sequence[str], timeout: float | None, *, as_json: bool) -> None:
    """Wait until operations have ended, or models are ready; fail if one failed.

    With --json it prints each operation or model.
    """
    attempts, ended = Attempts(what), []
    with within(timeout):
        for text in what:
            with attempts.of(text):
                one = _wait(depot, text, as_json=as_json and not attempts.several)
                ended.append(one)
                if not as_json and "path" in one:
                    give(one["path"])
    if as_json:
        attempts.print_json("ended", ended)
    attempts.finish()


def _wait(depot: Depot, what: str, *, as_json: bool) -> Json:
    """Return the operation or the model with which it ended. Raises `Failed`, `NotThere`."""
    operation = _operation(depot, what)
    if operation is None:
        model = find_model(depot, what, arriving)
        left = followed(depot, model["id"], name=what, as_json=as_json)
        if left is None:
            raise NotThere(f"{model['name']} was deleted meanwhile")
        return left
    model_id = operation["reference"]["id"] if operation["reference"]["command"] == "get-model" else None
    if model_id:
        followed(depot, model_id, operation["id"], name=what, as_json=as_json)
        operation = depot.operation(what)
    check(operation)
    return operation


def _operation(depot: Depot, text: str) -> Json | None:
    """Return the operation with that id, if any."""
    try:
        return depot.operation(text) if is_id(text) else None
    except NotThere:
        return None


def _users(depot: Depot, model: Json) -> list[Json]:
    return depot.deployments(model=model["id"])


def _status(model: Json, *, is_newest: bool) -> str:
    """Return the state, with its progress or reason, or that there is an update of the newest one."""
    if model.get("deleting"):
        return DELETING
    far = percent(model)
    more = "update" if is_newest and _moved(model) else model["reason"] or ("" if far is None else f"{far}%")
    return f"{_state(model)} {more}".rstrip()


def _state(model: Json) -> str:
    """Return the word by which lists call it."""
    return DELETING if model.get("deleting") else PAUSED if model.get("paused") else str(model["status"])
