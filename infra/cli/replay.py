"""`murmur replay`: the next generation of a unit, built from the log beside the one in service."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from events.admin import Admin
from events.errors import EventsError
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, out, print_json
from infra.compose import Engines
from infra.demo.children import ChildFailed
from infra.generations import states
from infra.replay import progress as how_far
from infra.replay.rebuild import Rebuild, begin
from infra.replay.space import Space, shortage, space
from infra.settings import load
from projections.base import RetryableError
from projections.generations import Bounds, Generation, GenerationError, State

app = typer.Typer()

LINE_SECONDS = 5.0
"""How often a line is printed where there is no terminal."""

PARTITIONS_SHOWN = 8


def checked_unit(unit: str) -> str:
    """Returns the unit's name.

    Raises:
        CommandError: no unit of that name has generations.
    """
    if unit in states():
        return unit
    if unit in compose.UNITS:
        raise CommandError(
            f"{unit} lives in the generations of {compose.STATE_OF[unit]}; name that one",
            Status.USAGE,
        )
    raise CommandError(f"no unit is called {unit}; there are {', '.join(states())}", Status.USAGE)


@app.command()
def replay(
    unit: Annotated[str, typer.Argument(help="Unit to rebuild.")],
    start: Annotated[
        str, typer.Option("--from", help="earliest, an offset, or a time (ISO 8601).")
    ] = "earliest",
    to: Annotated[str | None, typer.Option(help="A time (ISO 8601) to stop before.")] = None,
    only: Annotated[list[int] | None, typer.Option(help="User ids; repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    ignore_headroom: Annotated[bool, typer.Option(help="Do not ask for room first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the next generation of UNIT from the log, beside the one in service.

    It ends when the live end is reached; `murmur worker UNIT` then feeds the new generation too.
    Stop it with Ctrl-C and run it again: it goes on where it was. With --from, --to or --only a
    part of the log makes a generation that can be looked at (`murmur diff`), and never serves.

    Example: `murmur replay timelines --workers 2`, then `murmur diff timelines` and
    `murmur promote timelines`
    """
    checked_unit(unit)
    try:
        asyncio.run(_replay(unit, (start, to, only or []), workers, ignore_headroom, as_json))
    except ChildFailed as error:
        raise CommandError(f"{error}; what is built stays: run it again to go on") from error
    except GenerationError as error:
        raise CommandError(str(error)) from error
    except (RetryableError, EventsError) as error:
        raise CommandError(
            f"{error}; what is built stays: run it again to go on", Status.UNREACHABLE
        ) from error


async def _replay(
    unit: str,
    part: tuple[str, str | None, list[int]],
    workers: int,
    ignore_headroom: bool,
    as_json: bool,
) -> None:
    async with compose.engines(load().settings) as on:
        bounds = await bounds_of(on, unit, *part)
        if not ignore_headroom:
            await _require_room(on, unit)
        one = await begin(on, unit, bounds)
        err.print(f"building {one.name} of {unit}; Ctrl-C stops it, and it can be resumed")
        began = time.monotonic()
        shown = Shown(one)
        logs = on.settings.data_dir / "logs"
        with shown:
            work = Rebuild(on, one, workers=workers, report=shown, log_dir=logs).run()
            reached = await _until_stopped(work)
        if reached is None:
            raise CommandError(
                f"stopped; `murmur replay {unit}` goes on with {one.name}", Status.INTERRUPTED
            )
        _tell(one, reached, time.monotonic() - began, as_json)


async def _until_stopped(
    work: Awaitable[how_far.Progress],
) -> how_far.Progress | None:
    """Runs until it is done, or until SIGINT or SIGTERM; None when it was stopped."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def bounds_of(on: Engines, unit: str, start: str, to: str | None, only: list[int]) -> Bounds:
    """Returns what part of the log is meant, in offsets.

    Raises:
        CommandError: not an offset or a time.
    """
    admin = Admin(on.settings.kafka_bootstrap, on.topics, on.settings.kafka_options)
    topics = sorted(compose.UNITS[unit](on).topics)
    first: dict[str, int] = {}
    end: dict[str, int] = {}
    since_ms = None if start == "earliest" or start.isdigit() else _time_ms(start)
    until_ms = None if to is None else _time_ms(to)
    whole = start == "earliest" and to is None and not only
    for topic in topics:
        ends = {} if whole else await admin.end_offsets(topic)
        if start.isdigit():
            earliest = await admin.first_offsets(topic)
            froms = {at: min(max(int(start), earliest[at]), ends[at]) for at in ends}
        elif since_ms is not None:
            froms = await admin.offsets_at(topic, since_ms)
        else:
            froms = {}
        until = ends if until_ms is None else await admin.offsets_at(topic, until_ms)
        first |= {f"{topic}/{at}": offset for at, offset in froms.items()}
        end |= {f"{topic}/{at}": offset for at, offset in until.items()}
    return Bounds(first=first, end={} if whole else end, only=tuple(sorted(only)))


def _time_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is neither 'earliest', an offset nor a time such as 2026-11-23T04:00:00Z",
            Status.USAGE,
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


async def _require_room(on: Engines, unit: str) -> None:
    needed: Space = await space(on, unit)
    if why := await shortage(on, needed):
        raise CommandError(f"{why}; --ignore-headroom builds anyway")


def _tell(one: Generation, reached: how_far.Progress, seconds: float, as_json: bool) -> None:
    result: dict[str, Any] = {
        "unit": one.unit,
        "generation": one.name,
        "events": reached.total,
        "seconds": round(seconds, 3),
        "applied": dict(reached.applied),
    }
    if as_json:
        print_json(result)
        return
    out.print(f"{one.name} of {one.unit} is built: {reached.total} events in {seconds:.1f} s")
    if one.state is State.BUILDING:
        out.print(
            f"fed from now on by `murmur worker {one.unit}` (is one running?)\n"
            f"next: murmur diff {one.unit}, then murmur promote {one.unit}"
        )
    else:
        out.print(
            f"it holds a part of the log, to be looked at: murmur diff {one.unit} "
            f"{one.name} --against-oracle; then murmur drop {one.unit} {one.name}"
        )


class Shown:
    """Shows how far a replay is: bars in a terminal, now and then a line elsewhere."""

    def __init__(self, one: Generation) -> None:
        self._one = one
        self._bars: Progress | None = None
        self._all: TaskID | None = None
        self._lines: TaskID | None = None
        self._said = 0.0
        self._rate = 0.0

    def __enter__(self) -> Shown:
        if err.is_terminal:
            self._bars = Progress(
                TextColumn("{task.fields[what]}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% {task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[lag]}"),
                console=err,
            )
            self._all = self._bars.add_task(
                "", total=None, what=f"{self._one.unit} {self._one.name}", rate="", lag=""
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, now: how_far.Progress, before: how_far.Progress) -> None:
        """Takes one look."""
        rate = now.rate(before)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        if self._bars is not None and self._all is not None:
            self._bars.update(
                self._all,
                total=max(1, now.total),
                completed=now.done,
                rate=f"{self._rate:,.0f}/s",
                lag=_lags(now),
            )
        elif now.at - self._said >= LINE_SECONDS:
            self._said = now.at
            left = f"{now.behind / self._rate:.0f} s left" if self._rate else "no end in sight"
            err.print(f"{now.done} of {now.total}, {self._rate:,.0f}/s, {left}; {_lags(now)}")


def _lags(now: how_far.Progress) -> str:
    worst = sorted(now.lag.items(), key=lambda one: -one[1])
    shown = ", ".join(f"{at} {lag:,}" for at, lag in worst[:PARTITIONS_SHOWN])
    more = len(worst) - PARTITIONS_SHOWN
    return (shown + (f" and {more} more" if more > 0 else "")) or "nothing left"
