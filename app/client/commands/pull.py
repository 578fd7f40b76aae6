"""`modeldepot pull`: have a depot fetch models, and watch them arrive."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from app.client.commands.choosing import chosen
from app.client.commands.common import Attempts, followed, with_depot
from app.client.commands.hub import show_plan, together, wanted
from app.client.commands.options import epilog
from app.client.depot import Depot, Json
from app.client.exits import CannotDo, Failed, InTheWay
from app.client.names import label, selection
from app.client.progress import describe
from app.client.tokens import Token, find_token, is_overheard, login
from app.domain.errors import Reason
from app.domain.keys import split_token
from app.domain.states import ModelStatus
from app.terminal import can_ask, give, say, size

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _with_token(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which Hub token is sent; pass the function that as `token`."""

    @click.option(
        "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the Hub token to send."
    )
    @click.option("--token-stdin", is_flag=True, help="Read the Hub token from standard input.")
    @click.option("--no-token", is_flag=True, help="Send no Hub token, also when HF_TOKEN holds one.")
    @wraps(function)
    def run(*given: Any, token_file: Path | None, token_stdin: bool, no_token: bool, **options: Any) -> None:
        token = None if no_token else find_token(token_file, stdin=token_stdin)
        function(*given, token=token and _of_the_hub(token, given[0]), **options)

    return run


@click.command(
    epilog=epilog(
        "modeldepot pull sentence-transformers/all-MiniLM-L6-v2",
        "modeldepot pull unsloth/gemma-3-270m-it-GGUF:Q4_K_M",
        "modeldepot pull https://huggingface.co/owner/name/tree/v1.0 --include '*.safetensors' --dry-run",
        "modeldepot pull 'ollama run hf.co/unsloth/gemma-3-270m-it-GGUF'",
        "modeldepot pull mistralai/Mistral-7B-v0.3 --token-file ~/.cache/huggingface/token",
        "modeldepot pull acme/chat acme/embeddings --detach",
        "modeldepot pull acme/chat --update",
    )
)
@with_depot
@click.argument("names", metavar="OWNER/NAME[:QUANT][@REVISION]|URL...", nargs=-1, required=True)
@click.option("--revision", metavar="REVISION", help="A branch, tag or commit. Default: main.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Fetch only files that match. May be repeated.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files that match. May be repeated.")
@click.option("--all", "is_all", is_flag=True, help="Fetch all of a repository of GGUF models, and ask nothing.")
@_with_token
@click.option("--dry-run", is_flag=True, help="Say what it would fetch and whether that fits; fetch nothing.")
@click.option("--update", is_flag=True, help="If its branch has moved on the Hub, fetch what it is at now, too.")
@click.option("--detach", is_flag=True, help="Ask for it, print the model's id, and don't wait.")
def pull(
    depot: Depot,
    names: Sequence[str],
    revision: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    token: Token | None,
    *,
    is_all: bool,
    dry_run: bool,
    update: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Have the depot fetch models, watch them arrive, and print the folders they are in.

    A model that is there already is a success, and you are told if its branch has moved on the Hub since: --update
    fetches what that is at now, as a model beside it. One that is under way is followed; one that is in error is tried
    again, from what had arrived. Of several, one that fails leaves the others alone. Of a repository with several
    quantizations NAME:Q4_K_M fetches one, and NAME:latest the best default; for NAME alone a terminal asks which.

    The Hub token is read from HF_TOKEN, a file or standard input: on a command line it would be seen by all of the
    machine. The token of `hf auth login` is sent only if its file is named. Ctrl-C does not end the download.
    """
    if token:
        _announce(depot, token)
    names = together(names)
    bodies, attempts = {}, Attempts(names)
    for name in names:
        with attempts.of(name):
            bodies[name] = wanted(depot, name, revision, include, exclude, token.value if token else None)
    if not (is_all or dry_run or as_json) and can_ask():
        for name, body in bodies.items():
            with attempts.of(name):
                bodies[name] = chosen(depot, body)
    if dry_run:
        _plan(depot, bodies, attempts, token, as_json=as_json)
    else:
        _pull(depot, bodies, attempts, token, update=update, detach=detach, as_json=as_json)
    attempts.finish()


def _plan(depot: Depot, bodies: Mapping[str, Json], attempts: Attempts, token: Token | None, *, as_json: bool) -> None:
    """Show what would be fetched, and end as a pull would."""
    plans = {}
    for name, body in bodies.items():
        with attempts.of(name), _token_missed(token):
            plans[name] = depot.plan(body)
    if as_json:
        attempts.print_json("plans", list(plans.values()))
    else:
        for number, plan in enumerate(plans.values()):
            if number:
                say("")
            show_plan(plan)
    for name, plan in plans.items():
        with attempts.of(name), _token_missed(token):
            _check(plan)


def _check(plan: Json) -> None:
    """Raise the `Failed` with which a pull would end, as far as the plan tells."""
    model, gated, space = plan["model"], plan["gated"], plan["space"]
    if model and model["status"] == ModelStatus.READY and not model["deleting"]:
        return
    if gated and not gated["granted"]:
        raise Failed(Reason.FORBIDDEN, gated["missing"])
    if space and not space["fits"]:
        raise Failed(Reason.FAULT, f"it does not fit: {size(space['lacking'])} must be freed first")


def _pull(
    depot: Depot,
    bodies: Mapping[str, Json],
    attempts: Attempts,
    token: Token | None,
    *,
    update: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Ask for all models before the first is followed, so that they are fetched side by side."""
    begun, models = {}, []
    for name, body in bodies.items():
        with attempts.of(name), _token_missed(token):
            begun[name] = _begin(depot, body, update=update)
    to_come = [label(model) for model, _ in begun.values()]
    for name, one in begun.items():
        del to_come[0]
        with attempts.of(name), _token_missed(token):
            alone = as_json and not attempts.several
            model = one[0] if detach else _fetch(depot, bodies[name], one, to_come, as_json=alone)
            models.append(model)
            if detach and model.get("paused"):
                say(f"{name}: {describe(model)}", err=True)
            if not as_json:
                give(model["id" if detach else "path"])
    if as_json:
        attempts.print_json("models", models)


@contextmanager
def _token_missed(token: Token | None) -> Iterator[None]:
    """Say how to send a Hub token if the block fails for want of one."""
    try:
        yield
    except Failed as error:
        if error.reason in {Reason.FORBIDDEN, Reason.NOT_FOUND} and not token:
            say(f"No Hub token was sent: set HF_TOKEN, or give --token-file, such as {login()}", err=True)
        raise


def _of_the_hub(token: Token, depot: Depot) -> Token | None:
    """Return the token, or None for the depot's own key, as `modeldepot endpoint` puts it into HF_TOKEN."""
    key = split_token(token.value)
    if key is None or key[0] != depot.key_id:
        return token
    say(f"{token.source} holds your key of this depot, which is no token of the Hub: it is not sent there", err=True)
    return None


def _announce(depot: Depot, token: Token) -> None:
    aloud = ", which others may overhear on the way: the depot is at http://" if is_overheard(depot.url) else ""
    say(f"sending the Hub token of {token.source} along{aloud}", err=True)


def _fetch(depot: Depot, body: Json, begun: tuple[Json, str | None], to_come: Sequence[str], *, as_json: bool) -> Json:
    """Return the model once it is ready. One that is being deleted is requested again once it is gone.

    After Ctrl-C the user is told how to wait for it and those `to_come`.
    """
    while True:
        model, operation_id = begun
        name = " ".join((label(model), *to_come))
        left = followed(depot, model["id"], operation_id, name=name, as_json=as_json)
        if left is not None:
            return left
        say(f"model {model['id']} was deleted: it is asked for anew", err=True)
        begun = _begin(depot, body)


def _begin(depot: Depot, body: Json, *, update: bool = False) -> tuple[Json, str | None]:
    """Return (the model, the operation that fetches it or `None` if it existed). `update`: what its branch is at now."""
    try:
        operation = depot.create_model(body)
    except InTheWay as error:
        model = _named_by(depot, error)
        _say_how_it_is(model)
        if model["status"] != ModelStatus.READY or model.get("deleting"):
            return model, None
        if update:
            return _update(depot, model, body.get("huggingface-token"))
        _say_whether_it_moved(depot, model)
        return model, None
    return depot.model(operation["reference"]["id"]), operation["id"]


def _update(depot: Depot, model: Json, token: str | None) -> tuple[Json, str | None]:
    """Return what `_begin` does, of the model of the newest commit."""
    try:
        operation = depot.refresh_model(model["id"], token)
    except InTheWay as error:
        model = _named_by(depot, error)
        say(error.message, err=True)
        return model, None
    new = depot.model(operation["reference"]["id"])
    say(
        f"{new['follows']} has moved: its commit {new['revision'][:12]} is model {new['id']}.",
        f"The former one stays until it is removed: modeldepot rm {model['id']}",
        err=True,
    )
    return new, operation["id"]


def _named_by(depot: Depot, error: InTheWay) -> Json:
    """Return the model that a refusal names. Raises the refusal if it names none."""
    named = _ID.search(error.message)
    if named is None:
        raise error
    return depot.model(named[0])


def _say_how_it_is(model: Json) -> None:
    """Report the state of an existing model."""
    ready = model["status"] == ModelStatus.READY
    how = "being deleted" if model.get("deleting") else "here already" if ready else "under way already"
    say(f"{model['name']} is {how}, as model {model['id']}", err=True)


def _say_whether_it_moved(depot: Depot, model: Json) -> None:
    """Report whether the branch of a ready model has moved, and how to have what it is at now."""
    try:
        told = depot.latest(model["id"])
    except CannotDo as error:
        say(f"Whether {model['revision']} has moved since can't be told: {error.message}", err=True)
        return
    if told["moved"]:
        held_by, words = told.get("held-by"), " ".join(filter(None, (model["name"], selection(model))))
        say(
            f"{told['revision']} has moved: this is commit {told['commit'][:12]}, the Hub is at {told['latest'][:12]}.",
            f"Model {held_by} has that." if held_by else f"To have that, too: modeldepot pull {words} --update",
            err=True,
        )
