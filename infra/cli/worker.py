"""`murmur worker`: worker processes, started anew when they end by themselves."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from infra import compose
from infra.cli.output import CommandError, Status, err
from infra.demo.children import Child, ChildFailed, Worker
from infra.settings import Settings, load

app = typer.Typer()


@app.command()
def worker(
    units: Annotated[
        list[str], typer.Argument(metavar="UNIT…", help="accounts, tweets, timelines; or all.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Processes for each unit.")] = 1,
) -> None:
    """Feed units of projection until Ctrl-C or SIGTERM; slices in hand are finished.

    One process for each unit and count. One that ends because an engine went back in time or a
    commit froze is started anew, with growing pauses; one that needs an operator ends them all.

    Example: `murmur worker accounts tweets timelines`
    """
    wanted = list(compose.UNITS) if units == ["all"] else units
    unknown = [unit for unit in wanted if unit not in compose.UNITS]
    if unknown:
        raise CommandError(
            f"no unit {', '.join(unknown)}; there are: {', '.join(compose.UNITS)}, or all",
            Status.USAGE,
        )
    settings = load().settings
    try:
        asyncio.run(_feed(settings, wanted * count))
    except ChildFailed as error:
        raise CommandError(str(error)) from error


async def _feed(settings: Settings, units: list[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    first = settings.worker_metrics_port
    workers = [
        Worker(unit, None, {}, first + index if first else 0) for index, unit in enumerate(units)
    ]
    try:
        for one in workers:
            await one.start()
            err.print(f"feeding {one.unit} (pid {one.pid}, {one.metrics_url})", markup=False)
        await _until_stopped(stop, workers)
    finally:
        await asyncio.gather(*(one.stop(settings.worker_grace_s + 5) for one in workers))


async def _until_stopped(stop: asyncio.Event, workers: list[Worker]) -> None:
    """Waits for the request to stop, or for a worker that cannot be helped by starting it anew."""
    stopping = asyncio.ensure_future(stop.wait())
    watching = [asyncio.ensure_future(_supervise(one)) for one in workers]
    try:
        done, _ = await asyncio.wait({stopping, *watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        for task in (stopping, *watching):
            task.cancel()


async def _supervise(child: Child) -> None:
    await child.supervise(on_restart=lambda words: err.print(words, markup=False))
