"""Generations as the processes see them: which are fed, and whether a program fits one.

The registry itself is :mod:`projections.generations`; here it meets settings and code.
"""

from __future__ import annotations

import time

from infra import compose
from infra.compose import STATE_OF, Engines
from projections.generations import Generation, GenerationError, State


def state_of(unit: str) -> str:
    """Returns the unit whose state, and so whose generation, a unit lives in."""
    return STATE_OF.get(unit, unit)


def states() -> list[str]:
    """Returns the units that have generations."""
    return [unit for unit in compose.UNITS if unit not in STATE_OF]


def now_ms() -> int:
    """Returns the time in milliseconds since 1970."""
    return int(time.time() * 1000)


async def register_first(on: Engines) -> None:
    """Notes the generation that every unit begins with, where none is noted."""
    shapes = {unit: (compose.UNITS[unit](on).layout, on.buckets(unit)[0]) for unit in states()}
    await on.generations.register_first(shapes, now_ms=now_ms())


async def registered(on: Engines, unit: str) -> Generation:
    """Returns what is known of the generation that a unit is in, in ``on``.

    Raises:
        GenerationError: there is no such generation, or this program would write another layout.
        StoreUnavailable: the store did not answer.
    """
    state, name = state_of(unit), on.generation(unit)
    there = await on.generations.of(state)
    found = next((one for one in there if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in there) or "none"
        raise GenerationError(f"{state} has no generation {name}; there are: {names}")
    if why := misfit(on, found):
        raise GenerationError(why)
    return found


def misfit(on: Engines, one: Generation) -> str | None:
    """Returns why this program must not write to a generation; None if it may."""
    layout = compose.UNITS[one.unit](on).layout
    if layout != one.layout:
        return (
            f"{one.name} of {one.unit} has layout {one.layout}, this program writes {layout}: run "
            f"the release that built it, or build the next one with `murmur replay {one.unit}`"
        )
    buckets, setting = on.buckets(one.unit)
    if buckets != one.buckets:
        return (
            f"{one.name} of {one.unit} has {one.buckets} buckets, {setting} is {buckets}: set it "
            f"back, or build the next one with `murmur replay {one.unit}`"
        )
    return None


async def fed(on: Engines, unit: str) -> list[Generation]:
    """Returns the generations of a unit that standing workers feed, the oldest first.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    there = await on.generations.of(state_of(unit))
    return [one for one in there if one.state is State.READY]
