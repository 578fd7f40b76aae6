"""`modeldepot pull`, `ls`, `show`, `rm` and `wait`: a depot's models, from a terminal."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from app.client.commands.common import EPILOG, complete_model, followed, with_depot
from app.client.commands.hub import show_plan, wanted
from app.client.depot import Depot, Json
from app.client.exits import CannotDo, Failed, InTheWay, NotThere
from app.client.following import check
from app.client.names import find_model, is_id, selection
from app.client.progress import describe, percent, size
from app.client.tokens import Token, find_token, is_overheard, login
from app.domain.errors import Reason
from app.domain.states import ModelStatus
from app.terminal import give, print_json, say, table

_Function = TypeVar("_Function", bound=Callable[..., None])
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _model_argument(function: _Function) -> _Function:
    return click.argument("model", metavar="NAME|ID", shell_complete=complete_model)(function)


@click.command(epilog=EPILOG)
@with_depot
@click.argument("name", metavar="OWNER/NAME[:QUANT]|URL")
@click.option("--revision", metavar="REVISION", help="A branch, tag or commit. Default: main.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Fetch only files that match. May be repeated.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files that match. May be repeated.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the Hub token to send."
)
@click.option("--token-stdin", is_flag=True, help="Read the Hub token from standard input.")
@click.option("--no-token", is_flag=True, help="Send no Hub token, also when HF_TOKEN holds one.")
@click.option("--dry-run", is_flag=True, help="Say what it would fetch and whether that fits; fetch nothing.")
@click.option("--detach", is_flag=True, help="Ask for it, print the model's id, and don't wait.")
def pull(
    depot: Depot,
    name: str,
    revision: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    token_file: Path | None,
    *,
    token_stdin: bool,
    no_token: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Have the depot fetch a model, watch it arrive, and print the folder it is in.

    \b
        modeldepot pull sentence-transformers/all-MiniLM-L6-v2
        modeldepot pull unsloth/gemma-3-270m-it-GGUF:Q4_K_M
        modeldepot pull https://huggingface.co/owner/name/tree/v1.0 --include '*.safetensors' --dry-run
        modeldepot pull mistralai/Mistral-7B-v0.3 --token-file ~/.cache/huggingface/token

    A model that is there already is a success, and you are told if its branch has moved on the Hub since; one that is
    under way is followed; one that is in error is tried again, from what had arrived. The Hub token of gated and private
    models is read from HF_TOKEN, or from a file or standard input: on a command line it would be seen by all of the
    machine. The token of `hf auth login` is sent only if its file is named. Ctrl-C ends the watching, not the download.
    """  # noqa: D301  # click's marker is that one character
    token = None if no_token else find_token(token_file, stdin=token_stdin)
    if token:
        _announce(depot, token)
    body = wanted(depot, name, revision, include, exclude, token.value if token else None)
    if dry_run:
        show_plan(depot.plan(body), as_json=as_json)
        return
    with _token_missed(token):
        model = _begin(depot, body)[0] if detach else _fetch(depot, body, as_json=as_json)
    if detach and not as_json:
        give(model["id"])
    else:
        _print(model, as_json=as_json)


@contextmanager
def _token_missed(token: Token | None) -> Iterator[None]:
    """Say how to send a Hub token if the block fails for want of one."""
    try:
        yield
    except Failed as error:
        if error.reason in {Reason.FORBIDDEN, Reason.NOT_FOUND} and not token:
            say(f"No Hub token was sent: set HF_TOKEN, or give --token-file, such as {login()}", err=True)
        raise


def _announce(depot: Depot, token: Token) -> None:
    aloud = ", which others may overhear on the way: the depot is at http://" if is_overheard(depot.url) else ""
    say(f"sending the Hub token of {token.source} along{aloud}", err=True)


@click.command()
@with_depot
def ls(depot: Depot, *, as_json: bool) -> None:
    """List the models, oldest first."""
    models = depot.models()
    if as_json:
        print_json({"models": models})
    elif models:
        lines = [
            (
                model["name"],
                _status(model),
                size(model["model-size"] or model["total"]),
                model.get("last-pulled-at") or "-",
                model["id"],
                selection(model),
            )
            for model in models
        ]
        table([("NAME", "STATUS", "SIZE", "LAST PULLED", "ID", ""), *lines])
    else:
        say("There are no models yet: modeldepot pull OWNER/NAME", err=True)


@click.command(epilog=EPILOG)
@with_depot
@_model_argument
@click.option("--files", is_flag=True, help="List the files of a ready model, with their SHA-256, instead.")
def show(depot: Depot, model: str, *, files: bool, as_json: bool) -> None:
    """Show all about one model."""
    found = find_model(depot, model)
    if files:
        listed = depot.files(found["id"])
        if as_json:
            print_json({"files": listed})
        else:
            table(
                [("SHA-256", "SIZE", "PATH"), *((file["sha256"], str(file["size"]), file["path"]) for file in listed)]
            )
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
        "path": found.get("path"),
        "size": found["model-size"] and f"{size(found['model-size'])} ({found['model-size']:,} bytes)",
        "arrived": found["status"] == ModelStatus.DOWNLOADING
        and f"{size(found['downloaded'])} of {size(found['total'])}",
        "selection": selection(found),
        "commit": found["commit"],
        "used by": ", ".join(users),
        "pulled": _pulled(found),
        "created": found["created-at"],
        "updated": found["updated-at"],
    }
    for title, value in told.items():
        if value:
            say(f"{title:<10} {value}")


def _pulled(model: Json) -> str:
    """Say how often the model was pulled by name, and the last time; empty if never."""
    if not model.get("last-pulled-at"):
        return ""
    by, using = (model.get(f"last-pulled-{which}") for which in ("by", "with"))
    last = f"{model['last-pulled-at']}{f' by {by}' if by else ''}{f' with {using}' if using else ''}"
    return f"{model['pulls']} times, {size(model['bytes-sent'])}, last {last}"


@click.command(epilog=EPILOG)
@with_depot
@_model_argument
@click.option("--wait/--no-wait", default=True, help="Whether to wait until it is gone. Default: wait.")
def rm(depot: Depot, model: str, *, wait: bool, as_json: bool) -> None:
    """Delete a model; what still fetches it is stopped. Refused while deployments use it."""
    found = find_model(depot, model)
    try:
        operation = depot.delete_model(found["id"])
    except InTheWay:
        users = [f"  {user['name']}  {user['id']}" for user in _users(depot, found)]
        if not users:
            raise
        what = "Once nothing serves it, remove them with `modeldepot deployments rm NAME`, then remove the model"
        raise InTheWay(f"{found['name']} is in use by:", *users, what) from None
    if wait:
        followed(depot, found["id"], operation["id"], name=operation["id"], progress=False)
        operation = depot.operation(operation["id"])
    if as_json:
        print_json(operation)
    else:
        say(f"{found['name']} is {'gone' if wait else 'being deleted'}", err=True)


@click.command(epilog=EPILOG)
@with_depot
@click.argument("what", metavar="OPERATION|NAME|ID", shell_complete=complete_model)
def wait(depot: Depot, what: str, *, as_json: bool) -> None:
    """Wait until an operation has ended, or a model is ready; fail if it failed.

    With --json it prints the operation, or else the model.
    """
    operation = _operation(depot, what)
    if operation is None:
        model = find_model(depot, what)
        left = followed(depot, model["id"], name=what, as_json=as_json)
        if left is None:
            raise NotThere(f"{model['name']} was deleted meanwhile")
        _print(left, as_json=as_json)
        return
    model_id = operation["reference"]["id"] if operation["reference"]["command"] == "get-model" else None
    if model_id:
        followed(depot, model_id, operation["id"], name=what, as_json=as_json)
        operation = depot.operation(what)
    check(operation)
    if as_json:
        print_json(operation)


def _fetch(depot: Depot, body: Json, *, as_json: bool) -> Json:
    """Return the model once it is ready. One that is being deleted is requested again once it is gone."""
    while True:
        model, operation_id = _begin(depot, body)
        name = model["id"] if selection(model) else model["name"]
        left = followed(depot, model["id"], operation_id, name=name, as_json=as_json)
        if left is not None:
            return left
        say(f"model {model['id']} was deleted: it is asked for anew", err=True)


def _begin(depot: Depot, body: Json) -> tuple[Json, str | None]:
    """Return (the model, the operation that fetches it or `None` if it existed)."""
    try:
        operation = depot.create_model(body)
    except InTheWay as error:
        existing = _ID.search(error.message)
        if existing is None:
            raise
        model = depot.model(existing[0])
        _say_how_it_is(depot, model)
        return model, None
    return depot.model(operation["reference"]["id"]), operation["id"]


def _say_how_it_is(depot: Depot, model: Json) -> None:
    """Report the state of an existing model; if it is ready, also whether its revision has moved."""
    ready = model["status"] == ModelStatus.READY
    how = "being deleted" if model.get("deleting") else "here already" if ready else "under way already"
    say(f"{model['name']} is {how}, as model {model['id']}", err=True)
    if not ready or model.get("deleting"):
        return
    try:
        told = depot.latest(model["id"])
    except CannotDo as error:
        say(f"Whether {model['revision']} has moved since can't be told: {error.message}", err=True)
        return
    if told["moved"]:
        newer = " ".join(["modeldepot pull", model["name"], selection(model | {"revision": told["latest"]})])
        say(
            f"{told['revision']} has moved: this is commit {told['commit'][:12]}, the Hub is at {told['latest'][:12]}.",
            f"To have that, too: {newer}",
            f"To have it in this one's place, remove this one first: modeldepot rm {model['id']}",
            err=True,
        )


def _operation(depot: Depot, text: str) -> Json | None:
    """Return the operation with that id, if any."""
    try:
        return depot.operation(text) if is_id(text) else None
    except NotThere:
        return None


def _users(depot: Depot, model: Json) -> list[Json]:
    return depot.deployments(model=model["id"])


def _status(model: Json) -> str:
    """Return the status, with its progress or reason."""
    if model.get("deleting"):
        return "deleting"
    far = percent(model)
    return f"{model['status']} {model['reason'] or ''}{'' if far is None else f'{far}%'}".rstrip()


def _print(model: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(model)
    else:
        give(model["path"])
