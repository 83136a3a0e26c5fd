"""`murmur generations`, `promote`, `rollback` and `drop`: the life of what a replay has built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from events.errors import EventsError
from infra import compose
from infra.audit import Audit, open_audit
from infra.cli.output import AsJson, CommandError, Status, out, print_json
from infra.cli.replay import checked_unit
from infra.compose import Engines
from infra.diff.compare import compare
from infra.generations import now_ms, register_first, states
from infra.replay import lifecycle
from infra.replay.progress import Looks
from infra.replay.space import Space, spaces
from infra.settings import load
from projections.base import RetryableError
from projections.generations import Generation, GenerationError, Pointer

app = typer.Typer()

SAMPLE = 200
"""Keys of each kind that are compared before a promotion; `murmur diff --all` compares all."""

UnitName = Annotated[str, typer.Argument(help="Unit, such as timelines.")]


@app.command()
def generations(as_json: AsJson = False) -> None:
    """List the generations of every unit: state, watermark, size.

    Example: `murmur generations --json`
    """
    rows = asyncio.run(_guarded_list())
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("unit", "generation", "state", "behind", "applied", "keys", "Redis", "store"):
        table.add_column(
            name, justify="left" if name in ("unit", "generation", "state") else "right"
        )
    table.add_column("begun")
    for row in rows:
        table.add_row(
            row["unit"],
            row["generation"],
            row["state"] + (" (serves)" if row["serves"] else ""),
            f"{row['behind']:,}",
            f"{row['applied']:,}",
            f"{row['keys']:,}",
            _mib(row["redis_bytes"]),
            _mib(row["store_bytes"]),
            datetime.fromtimestamp(row["created_ms"] / 1000, UTC).isoformat(" ", "seconds"),
        )
    out.print(table)


@app.command()
def promote(
    unit: UnitName,
    generation: Annotated[
        str | None, typer.Argument(help="Generation; the newest that is ready by default.")
    ] = None,
    waive: Annotated[
        str | None, typer.Option(help="Do not compare; the reason, for the audit.")
    ] = None,
) -> None:
    """Put a generation into service, for every gateway at the same moment.

    It must have applied what the present one has, and must not differ from it (see `murmur diff`).
    The present one is fed on, so that `murmur rollback` loses nothing, until `murmur drop`.

    Example: `murmur promote timelines`
    """
    checked_unit(unit)
    asyncio.run(_guarded(_promote(unit, generation, waive)))


@app.command()
def rollback(unit: UnitName) -> None:
    """Put the generation into service again that served before.

    Example: `murmur rollback timelines`
    """
    checked_unit(unit)
    asyncio.run(_guarded(_rollback(unit)))


@app.command()
def drop(
    unit: UnitName, generation: Annotated[str, typer.Argument(help="Generation, such as g1.")]
) -> None:
    """Remove a generation that does not serve, and free its space.

    Example: `murmur drop timelines g1`
    """
    checked_unit(unit)
    asyncio.run(_guarded(_drop(unit, generation)))


@asynccontextmanager
async def _acting() -> AsyncIterator[tuple[Engines, Audit]]:
    async with compose.engines(load().settings) as on, open_audit(on) as audit:
        yield on, audit


async def _guarded(work: Any) -> Any:
    """Turns what can go wrong into one line."""
    try:
        return await work
    except GenerationError as error:
        raise CommandError(str(error)) from error
    except (RetryableError, EventsError) as error:
        raise CommandError(f"{error}; look with `murmur status`", Status.UNREACHABLE) from error


async def _guarded_list() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await _guarded(_list())
    return rows


async def _list() -> list[dict[str, Any]]:
    async with compose.engines(load().settings) as on:
        await register_first(on)
        pointers = await on.generations.pointers()
        there = [one for unit in states() for one in await on.generations.of(unit)]
        taken = await spaces(on, [(one.unit, one.name) for one in there])
        return [
            await _row(
                on,
                one,
                pointers.get(one.unit) or Pointer(on.generations.first),
                taken[one.unit, one.name],
            )
            for one in there
        ]


async def _row(on: Engines, one: Generation, pointer: Pointer, taken: Space) -> dict[str, Any]:
    there = on.at({one.unit: one.name})
    reached = await Looks(there, one.unit, one.bounds).look()
    return {
        "unit": one.unit,
        "generation": one.name,
        "state": str(one.state),
        "serves": one.name == pointer.serving,
        "served_before": one.name == pointer.before,
        "behind": reached.behind,
        "applied": reached.done,
        "positions": dict(reached.applied),
        "keys": taken.keys,
        "redis_bytes": taken.redis_bytes,
        "store_bytes": taken.store_bytes,
        "layout": one.layout,
        "buckets": one.buckets,
        "created_ms": one.created_ms,
    }


async def _promote(unit: str, name: str | None, waive: str | None) -> None:
    async with _acting() as (on, audit):
        to = await lifecycle.candidate(on, unit, name)
        compare = None if waive else partial(_differences, unit)
        detail = f"not compared: {waive}" if waive else ""
        pointer = await lifecycle.promote(on, unit, to, audit, compare=compare, detail=detail)
        _tell(unit, pointer)


async def _differences(unit: str, here: Engines, there: Engines) -> str | None:
    """How two generations differ, in words; None if they are equal."""
    names = (here.generation(unit), there.generation(unit))
    report = await compare(here, there, unit, names=names, sample=SAMPLE, seed=now_ms() % 2**31)
    out.print(f"compared {report.compared} keys of {names[0]} and {names[1]}")
    if report.equal:
        return None
    different = sum(total.different for total in report.totals)
    unsettled = sum(total.unsettled for total in report.totals)
    return f"{different} of {report.compared} keys differ, {unsettled} did not hold still"


async def _rollback(unit: str) -> None:
    async with _acting() as (on, audit):
        to = await lifecycle.before(on, unit)
        pointer = await lifecycle.promote(
            on, unit, to, audit, compare=None, action="rollback", detail="not compared"
        )
        _tell(unit, pointer)


async def _drop(unit: str, name: str) -> None:
    async with _acting() as (on, audit):
        keys = await lifecycle.drop(on, unit, name, audit)
        out.print(f"{name} of {unit} is dropped: its tables, {keys:,} keys of Redis, its groups")


def _tell(unit: str, pointer: Pointer) -> None:
    out.print(
        f"{unit} is served from {pointer.serving}; {pointer.before} is fed on\n"
        f"back: murmur rollback {unit}; for good: murmur drop {unit} {pointer.before}"
    )


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / (1 << 20):,.1f} MiB"
