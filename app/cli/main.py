"""The `modeldepot` command. A command's module is imported when it is called, so help and completion are quick."""

import gc
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem

from app.client.commands.options import Group, epilog
from app.client.exits import STOPPED
from app.terminal import say

_SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "Use a depot": {
            "pull": ("app.client.commands.pull", "Have it fetch models, and watch them arrive."),
            "search": ("app.client.commands.hub", "Find models on the Hub by name."),
            "ls": ("app.client.commands.models", "List the models."),
            "show": ("app.client.commands.models", "Show all about one model."),
            "wait": ("app.client.commands.models", "Wait until models are ready, or operations have ended."),
            "pause": ("app.client.commands.queue", "Stop fetching models, and keep what arrived."),
            "resume": ("app.client.commands.queue", "Go on with models that are paused."),
            "prioritise": ("app.client.commands.queue", "Have models fetched before others, or after them."),
            "rm": ("app.client.commands.models", "Delete models."),
            "endpoint": ("app.client.commands.exports", "Print what makes the Hub's clients fetch from it."),
            "deployments": (
                "app.client.commands.deployments",
                "List, add and remove what keeps models from being deleted.",
            ),
            "login": ("app.client.commands.contexts", "Keep a depot's address and your key, and use it from now on."),
            "logout": ("app.client.commands.contexts", "Forget the depot in use and your key for it."),
            "contexts": ("app.client.commands.contexts", "List, choose and forget the depots that you signed in to."),
        },
        "Run a depot": {
            "up": ("app.cli.up", "Run everything on this machine."),
            "serve": ("app.cli.run", "Run the API."),
            "worker": ("app.cli.run", "Run one worker: it fetches, verifies and deletes models."),
            "migrate": ("app.cli.migrate", "Bring the database to the shape that this version expects."),
        },
        "Look after it": {
            "storage": ("app.cli.storage", "What models take, and whether their files are intact."),
            "operations": ("app.cli.operations", "What is pending, who holds it, and since when."),
            "key": ("app.cli.keys", "Make, list and revoke the keys that open the API."),
            "webhooks": ("app.cli.webhooks", "What is told to the receiver of webhooks, and sending it again."),
            "audit": ("app.cli.keys", "Who changed what, from where, and how it was answered."),
            "secrets": ("app.cli.keys", "Look after what is sealed in the database."),
        },
        "About this command": {
            "help": ("app.cli.topics", "Show the help of a command, or a topic: exit-codes."),
            "version": ("app.cli.topics", "Print the version."),
        },
    }
)
"""Each command's module, and its line in the list of commands."""


class _Lazy(Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for commands in _SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for commands in _SECTIONS.values():
            if cmd_name in commands:
                module, _ = commands[cmd_name]
                # What is imported is never garbage: to look for some in it, now or later, is a third of a start's time.
                gc.disable()
                command: click.Command = getattr(import_module(module), cmd_name)
                gc.freeze()
                gc.enable()
                return command
        return None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            say("", err=True)  # Ends the line with the ^C.
            raise click.exceptions.Exit(STOPPED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, help_) for name, (_, help_) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        known = {name: help_ for commands in _SECTIONS.values() for name, (_, help_) in commands.items()}
        names = [CompletionItem(name, help=help_) for name, help_ in known.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=epilog("modeldepot up", "modeldepot pull sentence-transformers/all-MiniLM-L6-v2"),
)
@click.version_option(package_name="modeldepot", prog_name="modeldepot")
def main() -> None:
    """Fetch AI models from Hugging Face once, verify them, and keep them where inference engines load them.

    On one machine, `modeldepot up` is all there is to it.

    What uses a depot finds one elsewhere after `modeldepot login URL`, or by DEPOT_URL, DEPOT_KEY and DEPOT_SECRET,
    which win.

    On several, run `migrate` once, then `serve` and as many `worker`s as you like, with one PostgreSQL, one Redis and
    one shared folder.

    Settings come from environment variables that begin with DEPOT_: `modeldepot up --help` lists them. Secrets may
    stand in files instead, named by DEPOT_SECRET_KEY_FILE, DEPOT_DATABASE_URL_FILE, DEPOT_REDIS_URL_FILE,
    DEPOT_BOOTSTRAP_KEY_FILE, DEPOT_BOOTSTRAP_SECRET_FILE, DEPOT_WEBHOOK_URL_FILE and DEPOT_WEBHOOK_SECRET_FILE.
    """
