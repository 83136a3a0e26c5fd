"""A small world with one unit's workers alone, for faults that concern that unit.

The population's events reach every topic, the other units are nobody's worker. What a unit's
readers need of others is applied in this process when the fault is over (`applied`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from infra import compose
from infra.demo.convergence import open_view
from infra.replay.lifecycle import remove
from infra.settings import Settings
from tests.conftest import is_thrown_away
from tests.faults.world import World, stopped, world
from tests.integration.infra.generations import Fed

USERS = 60
Compared = tuple[int, list[str]]
"""Entries that were compared, and a line for each difference."""


async def nothing_more(_here: World, _chance: Random) -> None:
    """Says nothing that the population does not."""


@dataclass(frozen=True)
class Model:
    """One unit under faults.

    Attributes:
        unit: Its name.
        look: Reads once what readers read, so that it is cached when a fault hits.
        compare: Compares all that readers see with the oracle.
        say: Appends what the population never says.
        chosen: Settings of its workers and readers.
        alone: Whether it needs tables that hold nothing of other logs.
    """

    unit: str
    look: Callable[[World], Awaitable[None]]
    compare: Callable[[World, Random], Awaitable[Compared]]
    say: Callable[[World, Random], Awaitable[None]] = nothing_more
    chosen: Mapping[str, float] = field(default_factory=dict)
    alone: bool = False


@asynccontextmanager
async def running(model: Model, settings: Settings, logs: Path, seed: int) -> AsyncIterator[World]:
    """A population and a worker of the unit; stopped at the end."""
    generation = f"f{seed:x}" if model.alone else settings.generation
    chosen = settings.model_copy(update={**model.chosen, "generation": generation})
    env = {f"MURMUR_{name.upper()}": str(value) for name, value in model.chosen.items()}
    units = [model.unit]
    async with world(chosen, logs, seed, env=env, units=units, users=USERS) as here:
        try:
            yield here
        finally:
            await stopped(here.workers.values())
            if model.alone and not is_thrown_away(settings):
                await remove(here.on, model.unit)
                await here.on.store_of(model.unit).drop("positions")


async def applied(here: World, units: Iterable[str]) -> None:
    """Applies the log to other units, in this process."""
    async with AsyncExitStack() as ending:
        for unit in units:
            made = compose.UNITS[unit](here.on)
            await made.open()
            ending.push_async_callback(made.close)
            await Fed(here.on, made, ending.enter_context(closing(open_view(here.on)))).feed()
