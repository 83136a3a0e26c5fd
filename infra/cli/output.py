"""How the CLI speaks: results on standard output, everything else on standard error.

With `--json` the result is one JSON document (or one per line for streams) and nothing else is
on standard output, so that it can be piped. Errors are one line that says what to do.
"""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON on standard output.")]


class Status(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    WRONG = 1  # it ran, and found or did something wrong
    USAGE = 2  # the command line or a setting makes no sense
    UNREACHABLE = 3  # an engine, or the local stack, does not answer
    RUNNING = 4  # already running
    INTERNAL = 70  # a fault of ours
    INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """Ends a command: one line that says what to do, and the exit status."""

    def __init__(self, message: str, status: Status = Status.WRONG) -> None:
        super().__init__(message)
        self.status = status


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_json_line(value: Any) -> None:
    """One JSON document on one line of standard output, flushed."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
