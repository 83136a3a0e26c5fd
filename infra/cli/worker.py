"""`murmur worker`: one process per unit and count, kept alive until told to stop.

A process that crashed, was killed or asks for a new one (`streams.errors`) gets one after a pause
that grows to ten seconds; one that only an operator can help ends the command. SIGTERM and Ctrl-C
let every process finish its slice. None outlives this one, however it ends.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from infra import compose
from infra.cli.output import CommandError, Status, err
from infra.demo.children import ChildFailed, Worker
from infra.settings import Settings, load
from projections.base import RetryableError
from streams.errors import Defect, Restart

app = typer.Typer()

RESTARTED = (Restart.exit_code, Defect.exit_code)
# Beyond the worker's own grace, before it is killed.
GRACE_EXTRA_S = 5.0


@app.command()
def worker(
    units: Annotated[list[str], typer.Argument(help=f"Units to feed: {', '.join(compose.UNITS)}.")],
    count: Annotated[int, typer.Option(min=1, help="Processes per unit.")] = 1,
) -> None:
    """Feed projections from the log until Ctrl-C or SIGTERM.

    Each unit gets COUNT processes, which share its topics' partitions. Exit status 1 when a
    process ended for a reason that starting it again would not cure.

    Example: `murmur worker timelines engagement --count 2`
    """
    unknown = [unit for unit in units if unit not in compose.UNITS]
    if unknown:
        raise CommandError(
            f"no unit is called {', '.join(unknown)}; there are {', '.join(compose.UNITS)}",
            Status.USAGE,
        )
    settings = load().settings
    try:
        asyncio.run(_run(settings, [unit for unit in units for _ in range(count)]))
    except RetryableError as error:
        raise CommandError(
            f"{error}; is the stack up? try: murmur status", Status.UNREACHABLE
        ) from error
    except ChildFailed as error:
        raise CommandError(f"{error}; its last words are above") from error


async def _run(settings: Settings, units: list[str]) -> None:
    """Start all, supervise all, stop all."""
    # Said once and at once, instead of by every process again and again.
    async with compose.engines(settings):
        pass
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    workers = [_worker(settings, unit, at) for at, unit in enumerate(units)]
    stop = asyncio.create_task(stopped.wait())
    watching = [asyncio.create_task(_keep(one)) for one in workers]
    try:
        await asyncio.wait([stop, *watching], return_when=asyncio.FIRST_COMPLETED)
        for task in watching:
            if task.done():
                task.result()
    finally:
        stop.cancel()
        for task in watching:
            task.cancel()
        await asyncio.gather(stop, *watching, return_exceptions=True)
        grace_s = settings.worker_grace_s + GRACE_EXTRA_S
        await asyncio.gather(*(one.stop(grace_s) for one in workers))


def _worker(settings: Settings, unit: str, at: int) -> Worker:
    first = settings.worker_metrics_port
    # No folder for logs: a worker's words go to this terminal.
    return Worker(unit, None, {}, port=first + at if first else 0)


async def _keep(one: Worker) -> None:
    await one.start()
    err.print(f"{one.name}: pid {one.pid}, metrics at {one.metrics_url}", markup=False)
    await one.supervise(lambda words: err.print(words, markup=False), RESTARTED)
