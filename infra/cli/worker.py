"""`murmur worker`: processes per unit, generation and count, kept alive until told to stop.

A process that crashed, was killed or asks for a new one (`streams.errors`) gets one after a pause
that grows to ten seconds; one that only an operator can help ends the command. SIGTERM and Ctrl-C
let every process finish its slice. None outlives this one, however it ends.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from events.errors import EventsError
from infra import compose
from infra.cli.output import CommandError, Status, err
from infra.demo.children import ChildFailed
from infra.feeding import Feeding
from infra.generations import register_first
from infra.settings import Settings, load
from projections.base import RetryableError
from projections.generations import GenerationError

app = typer.Typer()

ALL = "all"


@app.command()
def worker(
    units: Annotated[
        list[str], typer.Argument(help=f"Units to feed, or {ALL}: {', '.join(compose.UNITS)}.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Processes per unit.")] = 1,
) -> None:
    """Feed projections from the log until Ctrl-C or SIGTERM.

    Each unit gets COUNT processes, which share its topics' partitions, and as many again for each
    further generation that is fed (`murmur generations`). Exit status 1 when a process ended for a
    reason that starting it again would not cure.

    Example: `murmur worker all`, or `murmur worker timelines engagement --count 2`
    """
    fed = named(units)
    settings = load().settings
    try:
        asyncio.run(_run(settings, fed, count))
    except (RetryableError, EventsError) as error:
        raise CommandError(
            f"{error}; is the stack up? try: murmur status", Status.UNREACHABLE
        ) from error
    except GenerationError as error:
        raise CommandError(str(error)) from error
    except ChildFailed as error:
        raise CommandError(f"{error}; its last words are above") from error


def named(units: list[str]) -> list[str]:
    """Returns the units that were named, each once."""
    unknown = [unit for unit in units if unit not in (ALL, *compose.UNITS)]
    if unknown:
        raise CommandError(
            f"no unit is called {', '.join(unknown)}; there are {', '.join(compose.UNITS)}, "
            f"and {ALL} for each of them",
            Status.USAGE,
        )
    return list(compose.UNITS) if ALL in units else list(dict.fromkeys(units))


async def _run(settings: Settings, units: list[str], count: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # An engine that is away is said once and at once, instead of by every process.
    async with compose.engines(settings) as on:
        await register_first(on)
        feeding = Feeding(
            on,
            units,
            count,
            lambda words: err.print(words, markup=False),
            first_port=settings.worker_metrics_port,
        )
        await feeding.run(stopped)
