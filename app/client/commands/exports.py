"""`modeldepot endpoint`: where the Hub's clients find the depot."""

import shlex
from pathlib import Path

import click

from app.client.commands.common import chosen_place, depot_options
from app.client.commands.options import epilog
from app.domain.keys import hub_token
from app.terminal import give, print_json


@click.command(
    epilog=epilog(
        "modeldepot endpoint --context work",
        'eval "$(modeldepot endpoint)"',
        "hf download sentence-transformers/all-MiniLM-L6-v2",
    )
)
@depot_options
def endpoint(*, url: str | None, context: str | None, data: Path, as_json: bool) -> None:
    """Print what makes the Hub's clients fetch from the depot: where it is, and your key as a token.

    vLLM, SGLang, TGI, transformers and others get a model by its name then. What is printed holds the key's secret.
    """
    place = chosen_place(url, context, data)
    variables = {"HF_ENDPOINT": place.url, "HF_TOKEN": hub_token(place.key_id, place.secret)}
    if as_json:
        print_json(variables)
    else:
        for name, value in variables.items():
            give(f"export {name}={shlex.quote(value)}")
