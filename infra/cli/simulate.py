"""`murmur simulate`: a seeded population acts on the log."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from events.errors import EventsError, RetryableError
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, print_json
from infra.settings import load
from infra.simulate.appender import Appender
from infra.simulate.generator import Plan
from projections import base

app = typer.Typer()

SHOW_EVERY_S = 0.25


@app.command()
def simulate(
    users: Annotated[int, typer.Option(min=10, help="Size of the population.")] = 1_000,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Events a second on average; 0 is unlimited.")
    ] = 1_000.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same population.")] = 1,
    follows: Annotated[
        float, typer.Option(min=1, help="Whom a user follows at first, on average.")
    ] = 20.0,
    as_json: AsJson = False,
) -> None:
    """Let a population register, follow, tweet and quarrel, until Ctrl-C or as long as asked for.

    Popularity is heavy-tailed, days have a rhythm, hashtags burst, users delete, unfollow, block,
    mute and leave; one event in a hundred comes twice. Each run makes new users.

    Example: `murmur simulate --users 500 --events 20000 --rate 2000`
    """
    plan = Plan(users=users, seed=seed, follows_mean=follows)
    try:
        appender, took = asyncio.run(_simulate(plan, rate, events, seconds, quiet=as_json))
    except ExceptionGroup as failures:
        raise CommandError(str(failures.exceptions[0])) from failures
    except (RetryableError, base.RetryableError) as error:
        raise CommandError(f"{error}; is the stack up?", Status.UNREACHABLE) from error
    except EventsError as error:
        raise CommandError(str(error)) from error
    result = {
        "events": appender.appended,
        "outcome_unknown": appender.unknown,
        "retried": appender.retried,
        "seconds": round(took, 3),
        "events_per_second": round(appender.appended / took, 1),
        "users": users,
        "seed": seed,
        "example_username": appender.simulation.people[0].username,
    }
    if as_json:
        print_json(result)
        return
    err.print(
        f"{appender.appended:,} events in {took:.1f} s ({appender.appended / took:,.0f}/s); "
        f"one of the users is @{result['example_username']}"
    )


async def _simulate(
    plan: Plan, rate: float, events: int | None, seconds: float | None, *, quiet: bool
) -> tuple[Appender, float]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with (
        compose.engines(load().settings) as on,
        compose.open_log(on) as log,
        compose.open_minter(on) as minter,
    ):
        appender = await Appender.open(log, minter, plan)
        started = time.monotonic()
        if seconds is not None:
            loop.call_later(seconds, stop.set)
        showing = asyncio.create_task(_show(appender, events, quiet))
        try:
            await appender.run(rate=rate, events=events, stop=stop)
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        return appender, time.monotonic() - started


async def _show(appender: Appender, events: int | None, quiet: bool) -> None:
    """A bar, or a counter when there is no end."""
    with Progress(
        TextColumn("simulating"),
        BarColumn(),
        TextColumn("{task.completed:,} events"),
        TextColumn("{task.fields[rate]:,.0f}/s  load {task.fields[load]:.2f}"),
        TimeElapsedColumn(),
        console=err,
        disable=quiet or not err.is_terminal,
    ) as progress:
        bar = progress.add_task("", total=events, rate=0.0, load=1.0)
        last, last_at = 0, time.monotonic()
        while True:
            await asyncio.sleep(SHOW_EVERY_S)
            now, count = time.monotonic(), appender.appended
            rate = (count - last) / (now - last_at)
            progress.update(bar, completed=count, rate=rate, load=appender.simulation.load)
            last, last_at = count, now
