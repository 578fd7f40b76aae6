"""`modeldepot help` and `version`: what the command says of itself."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from types import MappingProxyType

import click

from app.client.commands.options import epilog
from app.client.exits import CODES
from app.terminal import say

_TOPICS: Mapping[str, str] = MappingProxyType({"exit-codes": CODES})


def _complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    about: click.Command | None = ctx.find_root().command
    words = ctx.params.get("words") or ()
    for word in words:
        about = about.get_command(ctx, word) if isinstance(about, click.Group) else None
    commands = about.list_commands(ctx) if isinstance(about, click.Group) else []
    known = commands if words else [*commands, *_TOPICS]
    return [name for name in known if name.startswith(incomplete)]


@click.command(
    epilog=epilog("modeldepot help", "modeldepot help deployments add", "modeldepot help exit-codes"),
)
@click.argument("words", metavar="[COMMAND|TOPIC]...", nargs=-1, shell_complete=_complete)
@click.pass_context
def help(context: click.Context, words: Sequence[str]) -> None:  # noqa: A001  # it is the command's name
    """Show the help of a command, or a topic: `exit-codes`."""
    if topic := _TOPICS.get(" ".join(words)):
        say(*topic.split("\n"))
        return
    about = context.find_root()
    for word in words:
        if not isinstance(about.command, click.Group):
            raise click.UsageError(f"{about.command_path} has no commands of its own")
        name, command, _ = about.command.resolve_command(about, [word])
        if command is not None:
            about = click.Context(command, info_name=name, parent=about)
    say(*about.get_help().split("\n"))


@click.command(epilog=epilog("modeldepot version"))
def version() -> None:
    """Print the version."""
    say(f"modeldepot, version {metadata.version('modeldepot')}")
