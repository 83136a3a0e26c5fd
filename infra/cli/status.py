"""`murmur status`: engines, units, and what is wrong in words."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import typer
from rich.table import Table

from infra import status as source
from infra.cli.output import AsJson, Status, err, out
from infra.settings import load

app = typer.Typer()


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show how the engines and the units are, and what is wrong.

    The lag of a unit is what its consumer group has not committed; `applied` is what its own state
    says. Exit status 1 when something is wrong.

    Example: `murmur status --json`
    """
    found = asyncio.run(source.look(load().settings))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        _show(found)
    if not found.well:
        raise typer.Exit(Status.WRONG)


def _show(found: source.Status) -> None:
    if found.engines:
        out.print(_engines(found))
    if found.units:
        out.print(_units(found))
    problems = [
        *found.problems,
        *(f"{name}: {words}" for name, unit in found.units.items() for words in unit.problems),
    ]
    for words in problems:
        err.print(f"[bold yellow]wrong:[/] {words}")
    if not problems:
        out.print("nothing is wrong")


def _engines(found: source.Status) -> Table:
    table = Table(title="Engines", title_justify="left")
    for column in ("engine", "phase", "address", "pid", "MiB"):
        table.add_column(column, justify="right" if column in ("pid", "MiB") else "left")
    for name, engine in found.engines.items():
        numbers = [str(value) if value else "" for value in (engine.pid, engine.memory_mb)]
        table.add_row(name, engine.phase, engine.address, *numbers)
    return table


def _units(found: source.Status) -> Table:
    table = Table(title="Units", title_justify="left")
    columns = ("unit", "lag", "events/s", "dead letters", "applied")
    for column in columns:
        table.add_column(column, justify="left" if column in ("unit", "applied") else "right")
    for name, unit in found.units.items():
        applied: dict[str, list[str]] = {}
        for place, at in unit.positions.items():
            applied.setdefault(place.rpartition("/")[0], []).append(str(at.applied))
        shown = "\n".join(f"{topic}: {' '.join(at)}" for topic, at in applied.items())
        numbers = (f"{unit.lag:,}", f"{unit.events_per_s:,.0f}", f"{unit.dead_letters:,}")
        table.add_row(name, *numbers, shown)
    return table
