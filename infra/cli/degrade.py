"""`murmur degrade`: order a level of degrading, or leave it to measurement.

An order needs the store alone, so it can be given while other engines are away; that it was given
is then appended to the audit topic.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

import typer

from events.cassandra import Statements
from events.errors import EventsError, StoreUnavailable
from gateway.levels.level import Feature, Level, Order, Said
from infra import audit, compose
from infra.cli.output import AsJson, CommandError, Status, out, print_json
from infra.levels import Orders, now_ms
from infra.settings import Settings, load
from projections.base import RetryableError

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+)([smhd])")

app = typer.Typer()


@app.command()
def degrade(
    level: Annotated[
        int | None, typer.Argument(min=0, max=4, help="0 normal … 4 read-only; none to look.")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Withdraw the order: levels are measured again.")
    ] = False,
    lasting: Annotated[
        str | None, typer.Option("--for", help="How long, such as 90s, 10m or 2h.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; shown to everybody who asks.")] = "",
    as_json: AsJson = False,
) -> None:
    """Order a level of degrading for every gateway and worker process, or show what is in force.

    1: non-essential features are off. 2: home timelines are stale, without celebrities. 3: nothing
    is pushed, home timelines are read from the author timelines. 4: read-only, commands are
    refused. An order holds, also one of level 0, whatever is measured, until `--for` is over or it
    is withdrawn. It reaches every process within about a second.

    Example: `murmur degrade 3 --for 10m --reason "fan-out lags"`
    """
    if auto and (level is not None or lasting is not None):
        raise CommandError("--auto takes no level and no --for", Status.USAGE)
    if level is None and lasting is not None:
        raise CommandError("--for needs a level, such as: murmur degrade 3 --for 10m", Status.USAGE)
    settings = load().settings
    order = None if level is None else _order(Level(level), lasting, reason)
    try:
        said = asyncio.run(_run(settings, order, auto, reason))
    except (RetryableError, StoreUnavailable) as error:
        raise CommandError(str(error), Status.UNREACHABLE) from error
    _print(said, as_json)


def _order(level: Level, lasting: str | None, reason: str) -> Order:
    since = int(now_ms())
    until = since + duration_ms(lasting) if lasting else 0
    return Order(level, until, since, audit.actor(), reason)


def duration_ms(text: str) -> int:
    """Returns what ``10m`` and its like say, in milliseconds.

    Raises:
        CommandError: it says nothing of the kind.
    """
    parts = _DURATION.fullmatch(text)
    if parts is None or int(parts[1]) == 0:
        raise CommandError(f"{text!r} is no time; say how long as 90s, 10m, 2h or 1d", Status.USAGE)
    return int(parts[1]) * _UNITS_MS[parts[2]]


async def _run(settings: Settings, order: Order | None, auto: bool, reason: str) -> Said:
    session = await compose.open_cassandra(settings)
    try:
        orders = Orders(Statements(session, settings.keyspace), settings.topic_prefix)
        await orders.create()
        if order is not None:
            await orders.order(order)
        elif auto:
            await orders.withdraw()
        said = await orders.said()
    finally:
        await compose.close_cassandra(session)
    if order is not None or auto:
        await _audit(settings, _detail(order, reason))
    return said


def _detail(order: Order | None, reason: str) -> str:
    if order is None:
        return f"levels are measured again; {reason}".rstrip("; ")
    lasting = f" for {(order.until_ms - order.since_ms) // 1000} s" if order.until_ms else ""
    return f"level {order.level}{lasting}; {order.reason}".rstrip("; ")


async def _audit(settings: Settings, detail: str) -> None:
    try:
        async with (
            compose.engines(settings) as on,
            compose.open_log(on) as log,
            compose.open_minter(on) as minter,
        ):
            await audit.audit(log, minter, "degrade", detail=detail)
    except (RetryableError, EventsError) as error:
        raise CommandError(
            f"it is in force ({detail}), but the audit topic does not say so: {error}",
            Status.UNREACHABLE,
        ) from error


def _print(said: Said, as_json: bool) -> None:
    level, why = said.level(now_ms())
    measured = {claim.process: f"{claim.level}: {claim.reason}" for claim in said.claims}
    off = [feature.title for feature in Feature if level >= feature.off_from]
    if as_json:
        print_json(
            {"level": level, "about": level.words, "why": why, "off": off, "measured": measured}
        )
        return
    out.print(f"level {level.value}: {level.words}" + (f" ({why})" if why else ""), markup=False)
    if off:
        out.print(f"off: {', '.join(off)}", markup=False)
    for process, words in measured.items():
        out.print(f"measured by {process}: {words}", markup=False)
