"""`modeldepot search`, and what a pull asks for and would fetch: the Hub, as a depot sees it."""

from collections.abc import Sequence

import click

from app.client.commands.common import with_depot
from app.client.commands.options import epilog, wide_option
from app.client.depot import Depot, Json
from app.client.exits import Wrong
from app.client.names import named, read
from app.domain import pasted
from app.domain.errors import BadRequest
from app.domain.other_programs import is_line
from app.domain.states import ModelStatus
from app.terminal import print_json, say, size, table

_MOST_LISTED = 20
"""Files that a plan shows on a terminal."""
_MOST_ALIKE = 100
"""Models of the Hub among which a name without an owner must be the only one."""
_LIMITS = {
    "free": "free",
    "reserve": "kept free (DEPOT_RESERVE)",
    "needed-by-others": "for other downloads",
    "quota-left": "left of the quota",
}
"""What limits a plan's space, in words."""
VARIANT = ("QUANT", "SIZE", "GGUF MODEL", "WITH")


@click.command(epilog=epilog("modeldepot search gemma gguf", "modeldepot search all-MiniLM --limit 5"))
@with_depot
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--limit",
    type=click.IntRange(1, 100),
    metavar="NUMBER",
    default=20,
    show_default=True,
    help="How many to list at most.",
)
@wide_option
def search(depot: Depot, words: Sequence[str], limit: int, *, wide: bool, as_json: bool) -> None:
    """Find models on the Hub by the words in their names, those with the most downloads first."""
    text = " ".join(words).strip()
    if not text:
        raise click.UsageError("give a word to search for")
    models = depot.search(text, limit)
    if as_json:
        print_json({"models": models})
    elif models:
        lines = [
            (
                model["name"],
                _count(model["downloads"]),
                _count(model["likes"]),
                size(model["size"] or model["stored"]),
                "gated" if model["gated"] else "",
                (model["updated-at"] or "-").partition("T")[0],
            )
            for model in models
        ]
        table([("NAME", "DOWNLOADS", "LIKES", "SIZE", "ACCESS", "UPDATED"), *lines], wide=wide)
    else:
        say("The Hub has no model with all these words in its name.", err=True)


def together(names: Sequence[str]) -> Sequence[str]:
    """Return the names, as one if they are the words of another program's command line."""
    line = " ".join(names)
    return [line] if is_line(line) else names


def wanted(
    depot: Depot, text: str, revision: str | None, include: Sequence[str], exclude: Sequence[str], token: str | None
) -> Json:
    """Return the body of a create for a name as it was typed or pasted. Raises `CannotDo`."""
    try:
        meant = read(depot, text)
    except BadRequest as error:
        raise Wrong(error.message) from None
    if (meant.include and include) or (meant.tag and (include or exclude)):
        raise Wrong(f"{text!r} names the files itself: leave --include and --exclude out")
    if meant.revision and revision and meant.revision != revision:
        raise Wrong(f"{text!r} is of the revision {meant.revision!r}: leave --revision out")
    body: Json = {
        "name": _owned(depot, meant.name) if meant.is_bare else meant.name,
        "revision": revision or meant.revision,
        "include": list(include or meant.include),
        "exclude": list(exclude),
    }
    if token:
        body["huggingface-token"] = token
    if meant.note:
        say(meant.note, err=True)
    if meant.tag:
        try:
            body["include"] = pasted.choose(depot.plan(body)["variants"], meant.tag)["include"]
        except BadRequest as error:
            raise Wrong(error.message) from None
    return body


def show_plan(plan: Json) -> None:
    for title, told in _lines(plan).items():
        if told:
            say(f"{title:<10} {told}")
    files = [("x" if file["here"] else "", size(file["size"]), file["path"]) for file in plan["files"][:_MOST_LISTED]]
    say("")
    table([("HERE", "SIZE", "FILE"), *files])
    if (more := plan["file-count"] - len(files)) > 0:
        say(f"and {more} more, which --json lists")
    if plan["variants"]:
        say("")
        table([("CHOSEN", *VARIANT), *(("x" if one["selected"] else "", *variant(one)) for one in plan["variants"])])


def variant(one: Json) -> tuple[str, ...]:
    """Return a line, titled `VARIANT`, of one of a plan's GGUF models."""
    shards = f"{len(one['files'])} shards" if len(one["files"]) > 1 else ""
    more = ", ".join(filter(None, (shards, one["projector"] and "projector")))
    return one["quantization"] or "-", size(one["size"]), one["name"], more


def _lines(plan: Json) -> dict[str, str]:
    gated, license_, model = plan["gated"], plan["license"] or {}, plan["model"]
    other = plan.get("other-name")  # depots of an older version tell none
    access = "private" if plan["private"] else "open to everybody"
    if gated:
        kind = f"gated ({gated['kind']})" if gated["kind"] else "closed"
        access = f"{kind}, granted: {gated['link']}" if gated["granted"] else f"{kind}. {gated['missing']}"
    to_fetch = size(plan["bytes-to-fetch"])
    files = "1 file" if plan["file-count"] == 1 else f"{plan['file-count']} files"
    here = f", {size(plan['bytes-here'])} of it here already" if plan["bytes-here"] else ""
    if model and model["status"] == ModelStatus.READY and not model["deleting"]:
        to_fetch, here = "nothing, it is here", ""
    return {
        "name": plan["name"],
        "commit": f"{plan['commit']} ({plan['revision']})",
        "to fetch": f"{to_fetch}: {files}, {size(plan['bytes-total'])}{here}",
        "space": _space(plan["space"]),
        "access": access,
        "licence": " ".join(filter(None, (license_.get("id"), license_.get("name"), license_.get("link")))),
        "model": _model(plan),
        "formats": ", ".join(plan["formats"]),
        "pickles": plan["pickle-count"]
        and f"{plan['pickle-count']}, which can run code: {', '.join(plan['pickles'][:3])}",
        "here": model and _standing(model),
        "other name": other and f"{other['name']}: {_standing(other)}",
    }


def _standing(model: Json) -> str:
    return f"model {model['id']}, {'deleting' if model['deleting'] else model['status']}"


def _space(space: Json | None) -> str:
    if space is None:
        return "the storage can't be used now"
    if not space["fits"]:
        told = {name: space[name] for name in _LIMITS if space[name] or name in {"free", "quota-left"}}
        left = [f"{size(count)} are {_LIMITS[name]}" for name, count in told.items() if count is not None]
        return f"{size(space['lacking'])} must be freed first: {', '.join(left)}"
    if space["free"] is None:
        return "it fits"
    return f"it fits: {size(space['free'])} are free, {size(space['free-after'])} after it"


def _model(plan: Json) -> str:
    kinds = " ".join(plan["parameters-by-type"])
    told = (
        plan["architecture"],
        plan["parameters"] and f"{_count(plan['parameters'])} parameters{f' in {kinds}' if kinds else ''}",
        plan["context-length"] and f"context of {plan['context-length']}",
        plan["quantization"],
    )
    return ", ".join(filter(None, told))


def _owned(depot: Depot, name: str) -> str:
    """Return the full name of the only ready model with this name, else of the Hub's only one. Raises `CannotDo`."""
    found = {model["name"] for model in named(depot, name, status=ModelStatus.READY)}
    if not found:
        on_hub = (str(model["name"]) for model in depot.search(name, _MOST_ALIKE))
        found = {one for one in on_hub if one.partition("/")[2].lower() == name.lower()}
        if len(found) == 1:
            say(f"{name} is {', '.join(found)} on the Hub", err=True)
    if len(found) == 1:
        return str(found.pop())
    if found:
        raise Wrong(f"{name!r} may be {', '.join(sorted(found))}: say which")
    raise Wrong(f"neither the depot nor the Hub has a model called {name!r}: `modeldepot search` finds what is alike")


def _count(number: int | None) -> str:
    """Format a count, such as `1.2M`."""
    for bound, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number is not None and number >= bound:
            return f"{number / bound:.1f}{letter}"
    return "-" if number is None else str(number)
