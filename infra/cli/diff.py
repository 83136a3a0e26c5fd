"""`murmur diff`: whether readers see the same in two generations of a unit, under live traffic."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Annotated, Any

import msgspec
import typer
from confluent_kafka import KafkaException
from rich.table import Table

from events.errors import EventsError
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, err, out, print_json
from infra.diff.compare import SHOWN, Report, compare
from infra.diff.fields import Field
from infra.diff.looks import WAIT_S
from infra.diff.oracle import NAME as ORACLE
from infra.diff.oracle import OracleMissing, compare_with_oracle
from infra.diff.views import KINDS_OF_UNIT
from infra.replay.lifecycle import candidate
from infra.settings import Settings, load
from projections.base import RetryableError
from projections.generations import GenerationError

SAMPLE = 200
VALUE_MAX = 200

app = typer.Typer()


@app.command()
def diff(
    unit: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS_OF_UNIT)}.")],
    a: Annotated[str | None, typer.Argument(help="A generation (default: in service).")] = None,
    b: Annotated[str | None, typer.Argument(help="Another (default: the newest ready).")] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Keys of each kind to compare, by chance.")
    ] = SAMPLE,
    every: Annotated[bool, typer.Option("--all", help="Compare every key.")] = False,
    against_oracle: Annotated[
        bool, typer.Option(help="Compare generation A with the oracle, fed from the log.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Of the sample, to draw the same one again.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a generation to get past a difference.")
    ] = WAIT_S,
    show_at_most: Annotated[
        int, typer.Option("--show", min=1, help="Differences to print, with their events.")
    ] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """Compare two generations of a unit, or one and the oracle, key by key as readers see them.

    A key that differs is looked at again once both sides have passed the place in the log where it
    did, so this can run under live traffic. Nothing is written, in Redis neither.

    Exit status 0 when all keys compared are equal, 1 when any differs or could not be settled.

    Example: `murmur diff timelines g1 g2 --all`
    """
    if unit not in KINDS_OF_UNIT:
        known = ", ".join(KINDS_OF_UNIT)
        raise CommandError(f"no unit {unit!r} to compare; there are: {known}", Status.USAGE)
    if against_oracle and b is not None:
        raise CommandError("give one generation with --against-oracle", Status.USAGE)
    chosen = secrets.randbits(32) if seed is None else seed
    size = None if every else sample
    task = _oracle if against_oracle else _generations
    try:
        report = asyncio.run(
            task(load().settings, unit, (a, b), size, chosen, wait_s, show_at_most)
        )
    except (RetryableError, EventsError, KafkaException) as error:
        told = f"{error}; is the stack up? try: murmur status"
        raise CommandError(told, Status.UNREACHABLE) from error
    except OracleMissing as error:
        raise CommandError(str(error), Status.USAGE) from error
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)
    if as_json:
        print_json({**msgspec.to_builtins(report), "equal": report.equal})
    else:
        show(report)
    if not report.equal:
        raise typer.Exit(Status.WRONG)


async def _generations(
    settings: Settings,
    unit: str,
    names: tuple[str | None, str | None],
    sample: int | None,
    seed: int,
    wait_s: float,
    shown: int,
) -> Report:
    async with compose.engines(settings) as on:
        a = names[0] or on.generation(unit)
        try:
            b = names[1] or (await candidate(on, unit, None)).name
        except GenerationError as error:
            raise CommandError(str(error)) from error
        if a == b:
            raise CommandError(f"name another generation of {unit} than {a}", Status.USAGE)
        return await compare(
            on.at({unit: a}),
            on.at({unit: b}),
            unit,
            names=(a, b),
            beside=on,
            sample=sample,
            seed=seed,
            wait_s=wait_s,
            shown=shown,
            progress=_progress,
        )


async def _oracle(
    settings: Settings,
    unit: str,
    names: tuple[str | None, str | None],
    sample: int | None,
    seed: int,
    wait_s: float,
    shown: int,
) -> Report:
    async with compose.engines(settings) as on:
        a = names[0] or on.generation(unit)
        return await compare_with_oracle(
            on.at({unit: a}),
            unit,
            name=a,
            beside=on,
            sample=sample,
            seed=seed,
            wait_s=wait_s,
            shown=shown,
            progress=_progress,
        )


def _progress(kind: str, done: int) -> None:
    if err.is_terminal:
        err.print(f"{kind}: {done} compared", end="\r")


def show(report: Report) -> None:
    """Prints a report for people."""
    against = "the oracle" if report.b == ORACLE else report.b
    chosen = "every key" if report.sample is None else f"{report.sample} keys of each kind"
    out.print(f"{report.unit}: {report.a} and {against}, {chosen}, seed {report.seed}")
    table = Table(box=None, pad_edge=False)
    for title in ("kind", "compared", "looked at again", "different", "unsettled"):
        table.add_column(title)
    for total in report.totals:
        numbers = (total.compared, total.looked_again, total.different, total.unsettled)
        table.add_row(total.kind, *map(str, numbers))
    out.print(table)
    for one in report.differences:
        out.print(f"\n{one.kind} {one.key}", style="bold red", markup=False)
        for field in one.fields:
            out.print(f"    {_words(field, report)}", markup=False)
        for line in one.events:
            out.print(f"        {line}", markup=False)
    for key in report.unsettled:
        out.print(f"unsettled: {key}", style="yellow", markup=False)
    for side in report.behind:
        out.print(f"{side} did not catch up in time: does a worker feed it?", style="bold red")
    for side, positions in report.positions.items():
        told = " ".join(f"{place}@{offset}" for place, offset in positions.items() if offset)
        out.print(f"{side} at {told}", style="dim", markup=False)
    verdict = "equal" if report.equal else "DIFFERENT" if report.differences else "NOT SETTLED"
    out.print(f"{report.compared} keys compared: {verdict}", style="bold")


def _words(field: Field, report: Report) -> str:
    return f"{field.path}: {report.a} {_short(field.a)}, {report.b} {_short(field.b)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}…"
