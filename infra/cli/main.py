"""`murmur`: the way in for everyone. This module finds commands and turns errors into words.

A command's module is imported when the command is called, so that `murmur down` does not wait
for what only a worker needs. Exit statuses are `infra.cli.output.Status`; `murmur --help` lists
them. A traceback is shown with `--debug` only.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from infra.cli.output import CommandError, Status, err
from infra.settings import SettingsError

# Command -> the module whose `app` has it, in the order of the help.
COMMANDS = {
    "demo": "infra.cli.demo",
    "up": "infra.cli.stack",
    "down": "infra.cli.stack",
    "status": "infra.cli.status",
    "degrade": "infra.cli.degrade",
    "logs": "infra.cli.stack",
    "settings": "infra.cli.settings",
    "worker": "infra.cli.worker",
    "replay": "infra.cli.replay",
    "generations": "infra.cli.generations",
    "promote": "infra.cli.generations",
    "rollback": "infra.cli.generations",
    "drop": "infra.cli.generations",
    "gateway": "infra.cli.gateway",
    "token": "infra.cli.gateway",
    "router": "infra.cli.router",
    "digest": "infra.cli.router",
    "simulate": "infra.cli.simulate",
    "import": "infra.cli.importing",
    "events": "infra.cli.events",
    "trends": "infra.cli.trends",
    "diff": "infra.cli.diff",
    "dead-letters": "infra.cli.dead_letters",
    "repair": "infra.cli.repair",
}


class Commands(TyperGroup):
    """A group that imports a command when it is asked for.

    `Any`, because typer's own click types are private and move between its releases.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module of a command and take the command out of its app."""
        if cmd_name not in COMMANDS:
            return None
        found = typer.main.get_command(import_module(COMMANDS[cmd_name]).app)
        inner = found.commands.get(cmd_name) if isinstance(found, TyperGroup) else None
        command = inner or found
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Murmuration: an event-sourced Twitter backend.

    Start with `murmur up --detach`, then `murmur worker accounts tweets timelines engagement
    collections` and `murmur gateway`; `murmur status` says what is wrong.

    Exit statuses: 0 fine; 1 something is wrong; 2 usage or settings; 3 an engine does not answer;
    4 already running; 70 a fault of ours; 130 interrupted.
    """


def main() -> None:
    """Run the command line; known errors become one line and their exit status."""
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            raise
        status, message = _explain(error)
        err.print(f"[bold red]error:[/] {_plain(message)}")
        sys.exit(status)


def _explain(error: Exception) -> tuple[Status, str]:
    if isinstance(error, CommandError):
        return error.status, str(error)
    if isinstance(error, SettingsError):
        return Status.USAGE, str(error)
    name = type(error).__name__
    return Status.INTERNAL, f"{name}: {error} (run `murmur --debug …` for the traceback)"


def _plain(text: str) -> str:
    """One line, and no markup taken for such."""
    return " ".join(text.split()).replace("[", r"\[")


if __name__ == "__main__":
    main()
