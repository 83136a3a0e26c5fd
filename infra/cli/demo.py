"""`murmur demo`: everything at once, shown live, and compared with the oracle at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from events.errors import EventsError
from infra.cli.output import CommandError, Status, err
from infra.demo.children import ChildFailed
from infra.demo.convergence import NotConverged
from infra.demo.reading import ReadFailed
from infra.demo.run import Demo, Options, stage
from infra.demo.summary import Summary
from projections.base import ProjectionError

app = typer.Typer()

FAILURES = (ChildFailed, NotConverged, ReadFailed, EventsError, ProjectionError, KafkaException)


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option(envvar="DEMO_SECONDS", min=0, help="0 is until Ctrl-C.")
    ] = 60.0,
    users: Annotated[int, typer.Option(envvar="DEMO_USERS", min=10)] = 500,
    rate: Annotated[
        float, typer.Option(envvar="DEMO_RATE", min=0, help="Events a second; 0 is unlimited.")
    ] = 1_000.0,
    seed: Annotated[int, typer.Option(envvar="DEMO_SEED")] = 1,
    check: Annotated[
        int,
        typer.Option(
            envvar="DEMO_CHECK", min=1, help="Home timelines, tweets and searches compared."
        ),
    ] = 100,
    summary_path: Annotated[
        Path | None, typer.Option("--summary", envvar="DEMO_JSON", help="Write the result here.")
    ] = None,
) -> None:
    """Show the whole path live, then prove that timelines, counts and searches are right.

    Starts the local stack unless it runs, workers for all units and a gateway; simulates a
    population; compares whole home timelines, tweets' counts and searches, read over HTTP, with
    the oracle. Ctrl-C ends the simulation early; a second one ends everything. Exit status 1 when
    one differs.

    Example: `murmur demo --seconds 20 --summary demo.json`
    """
    _require_oracle()
    options = Options(seconds=seconds, users=users, rate=rate, seed=seed, check=check)
    console = Console(highlight=False, soft_wrap=True)
    try:
        summary, done = asyncio.run(_run(options, console))
    except FAILURES as error:
        raise CommandError(str(error), Status.WRONG) from error
    except asyncio.CancelledError:
        err.print("interrupted; everything that was started is stopped")
        raise typer.Exit(Status.INTERRUPTED) from None
    if summary_path is not None:
        summary.write(summary_path)
    for line in [*summary.words(), *done.differences]:
        console.print(line, markup=False)
    _where_next(console, done.username)
    if summary.is_different:
        raise typer.Exit(Status.WRONG)


def _require_oracle() -> None:
    """Refuse at once what would otherwise fail after a minute."""
    if find_spec("tests") is None or find_spec("tests.oracle") is None:
        raise CommandError(
            "the demo compares with tests/oracle.py, which is not installed; run it in a checkout",
            Status.USAGE,
        )


async def _run(options: Options, console: Console) -> tuple[Summary, Demo]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("not called as a task")
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    async with stage(options, console) as on_stage:
        demo = Demo(options, on_stage, console)
        loop.add_signal_handler(signal.SIGINT, _first_then, loop, demo.stop, task.cancel)
        return await demo.run(), demo


def _first_then(
    loop: asyncio.AbstractEventLoop, first: Callable[[], None], then: Callable[[], object]
) -> None:
    """Ctrl-C once ends the simulation, twice everything."""
    first()
    loop.add_signal_handler(signal.SIGINT, then)


def _where_next(console: Console, username: str) -> None:
    token = f"$(murmur token {username})"
    for line in (
        "",
        "Everything that was started is stopped; the data is kept. To look around:",
        "  murmur up --detach",
        "  murmur worker all   # in a terminal of its own",
        "  murmur gateway   # in another one",
        f'  curl -H "Authorization: Bearer {token}" http://127.0.0.1:8080/api/timeline/home',
        f"  curl http://127.0.0.1:8080/api/users/by/username/{username}",
        "  murmur status; murmur events tail new-tweets",
    ):
        console.print(line, markup=False)
