"""`murmur status`: the engines, the units, and what is wrong with either, in words.

The engines are asked now (each answers its probe or does not), beside what the launcher says of
its processes. A unit's numbers come from the log and its state alone, so they are true whether or
not a worker runs: committed lag (log end minus the group's commits), applied positions, events
per second between two looks, and dead letters. The level of degrading is what is said to all
processes (`murmur degrade`); one that a single gateway measured for itself is named as well.
"""

from __future__ import annotations

import asyncio
from typing import Any

import typer
from rich.table import Table

from events.admin import Admin
from events.errors import EventsError
from gateway.levels.level import Level, Said
from infra import compose
from infra.cli.output import AsJson, CommandError, Status, out, print_json
from infra.levels import now_ms, orders_of
from infra.router import status as router_status
from infra.settings import ADDRESS_OF, Loaded, Settings, load
from infra.stack import state
from infra.stack.engines.base import NotReadyError
from infra.stack.launcher import engines
from infra.unit_status import UnitStatus, look
from projections.base import RetryableError
from schemas.catalog import Topics

app = typer.Typer()


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show engines and units, and say in words what is wrong.

    Exit status 0 when all is well, 1 when something is wrong, 3 when an engine does not answer.

    Example: `murmur status --json`
    """
    loaded = load()
    parts = asyncio.run(_engines(loaded))
    units: list[UnitStatus] = []
    said = Said()
    unpushed: int | None = None
    wrong = [f"{part['name']}: {part['problem']}" for part in parts if part["problem"]]
    reachable = not any(part["phase"] == "unreachable" for part in parts)
    if reachable:
        try:
            units = asyncio.run(look(loaded.settings))
            said = asyncio.run(_said(loaded.settings))
            unpushed = asyncio.run(router_status.look(loaded.settings))
            wrong += asyncio.run(_losing(loaded.settings))
        except (RetryableError, EventsError) as error:
            raise CommandError(str(error), Status.UNREACHABLE) from error
    wrong += [f"{unit.name}: {problem}" for unit in units for problem in unit.problems]
    level, why = said.level(now_ms())
    wrong += [*_degraded(said, level, why), *router_status.problems_of(unpushed, level)]
    if as_json:
        shown: dict[str, Any] = {"engines": parts, "units": [unit.shown() for unit in units]}
        print_json({**shown, "router_lag": unpushed, "level": level, "wrong": wrong})
    else:
        _print(parts, units, wrong)
    if not reachable:
        raise typer.Exit(Status.UNREACHABLE)
    if wrong:
        raise typer.Exit(Status.WRONG)


async def _said(settings: Settings) -> Said:
    async with compose.engines(settings) as on:
        orders = orders_of(on)
        await orders.create()
        return await orders.said()


async def _losing(settings: Settings) -> list[str]:
    """Names the topics that do not keep what they are there to keep."""
    topics = Topics(settings.topic_prefix, settings.site)
    return await Admin(settings.kafka_bootstrap, topics, settings.kafka_options).losing()


def _degraded(said: Said, level: Level, why: str) -> list[str]:
    """Names the level that holds for all, and those that single gateways measured."""
    lines = [f"level {level}: {level.words} ({why}); see `murmur degrade`"] if level else []
    if not said.ordered(now_ms()):
        lines += [
            f"gateway {claim.process}: level {claim.level} by {claim.reason}"
            for claim in said.claims
            if claim.level > level
        ]
    return lines


async def _engines(loaded: Loaded) -> list[dict[str, Any]]:
    """Each engine as it answers now, and its process if it is ours."""
    current = state.read(loaded.settings.data_dir)
    ours = current.engines if current and current.alive() else {}
    return list(
        await asyncio.gather(
            *(_engine(loaded, engine, ours.get(engine.name)) for engine in engines(loaded))
        )
    )


async def _engine(loaded: Loaded, engine: Any, ours: state.EngineState | None) -> dict[str, Any]:
    value = getattr(loaded.settings, ADDRESS_OF[engine.name])
    address = value[0] if isinstance(value, list) else str(value)
    identity = ours.identity() if ours else None
    shown = {
        "name": engine.name,
        "title": engine.title,
        "address": loaded.shown()[ADDRESS_OF[engine.name]],
        "phase": ours.phase if ours else "external",
        "pid": identity.pid if identity and identity.alive() else None,
        "memory_mb": identity.resident_mb() if identity else None,
        "restarts": ours.restarts if ours else 0,
        "problem": ours.problem if ours else "",
    }
    try:
        await engine.probe(address)
    except NotReadyError as error:
        hint = "see `murmur logs " + engine.name + "`" if ours else "start it with `murmur up`"
        shown["phase"] = "unreachable"
        shown["problem"] = f"does not answer at {shown['address']} ({_short(error)}); {hint}"
    return shown


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else f"{text[:117]}…"


def _print(parts: list[dict[str, Any]], units: list[UnitStatus], wrong: list[str]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("engine", "", "address", "pid", "MiB", "restarts"):
        table.add_column(title, overflow="fold")
    for part in parts:
        style = "green" if part["phase"] in ("ready", "external") else "bold red"
        cells = (part["address"], part["pid"] or "", part["memory_mb"] or "", part["restarts"])
        if isinstance(part["address"], list):
            cells = (",".join(part["address"]), *cells[1:])
        table.add_row(part["name"], f"[{style}]{part['phase']}[/]", *map(str, cells))
    out.print(table)
    if units:
        table = Table(box=None, pad_edge=False)
        for title in ("unit", "workers", "lag", "events/s", "dead letters", "applied"):
            table.add_column(title, overflow="fold")
        for unit in units:
            numbers = (unit.workers, unit.lag, f"{unit.events_per_s:.0f}", unit.dead_letters)
            table.add_row(unit.name, *map(str, numbers), unit.applied_words())
        out.print()
        out.print(table)
    out.print()
    for problem in wrong or ["nothing is wrong"]:
        out.print(problem, markup=False, style="bold red" if wrong else "green")
