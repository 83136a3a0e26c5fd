"""One side of a comparison: a generation of a unit, as its readers see it.

A side answers questions, says which keys it has, and can be waited for until it has applied the
log up to somewhere. The oracle is another one (:mod:`infra.diff.oracle`).

Bounded by: ``READS_AT_ONCE`` keys under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Protocol

from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets
from infra.diff import keys, views
from infra.diff.keys import Key
from infra.diff.quiet import EmptyBus, QuietBus
from infra.diff.views import Kind

READS_AT_ONCE = 8
POLL_S = 0.1

DERIVED = "fan-out"
"""The topic of what the timelines unit appends itself, and another group applies."""


class Side(Protocol):
    """What is compared."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    async def read(self, kind: Kind, wanted: Sequence[Key]) -> list[Any]:
        """Returns what readers see of each key now, as plain data.

        Raises:
            RetryableError: an engine is away.
        """
        ...

    async def positions(self) -> Offsets:
        """Returns how far the log is applied, by topic and partition."""
        ...

    async def reach(self, ends: Offsets, seconds_max: float) -> bool:
        """Waits until the log is applied up to ``ends``; False if it takes longer than that."""
        ...


class GenerationSide:
    """A generation, read through a bus that leaves its caches as they are.

    Args:
        name: The generation.
        unit: The unit.
        on: Engines at that generation.
        beside: Engines whose other units are read.
        is_cached: Whether what is cached is read as readers read it, or all from the store.
    """

    def __init__(
        self, name: str, unit: str, on: Engines, beside: Engines, *, is_cached: bool = True
    ) -> None:
        self.name = name
        bus = QuietBus(on.bus) if is_cached else EmptyBus(on.bus)
        self.on = replace(on, bus=bus)
        self.store = self.on.store_of(unit)
        self._reads = views.reads(unit, self.on, replace(beside, bus=QuietBus(beside.bus)))
        # The chunks of large fan-outs are delivered by a group of their own.
        groups = ("timelines", "fan-out") if unit == "timelines" else (unit,)
        self._applied = {group: on.applied(group) for group in groups}
        self._at_once = asyncio.Semaphore(READS_AT_ONCE)

    async def read(self, kind: Kind, wanted: Sequence[Key]) -> list[Any]:
        """See :class:`Side`."""
        read = self._reads[kind.name]

        async def one(key: Key) -> Any:
            async with self._at_once:
                return await read(key)

        return list(await asyncio.gather(*map(one, wanted)))

    async def positions(self) -> Offsets:
        """See :class:`Side`."""
        found: Offsets = {}
        for applied in self._applied.values():
            for source, offset in (await applied.all()).items():
                topic, _, partition = source.rpartition("/")
                found[topic, int(partition)] = offset
        return found

    async def reach(self, ends: Offsets, seconds_max: float) -> bool:
        """See :class:`Side`."""
        deadline = time.monotonic() + seconds_max
        while not passed(await self.positions(), ends):  # one look at least, however late it is
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True


def passed(positions: Offsets, ends: Offsets) -> bool:
    """Says whether positions are at or past ends.

    A generation whose group for chunks never began pushes none: its timelines are cold, and read
    from the store.
    """
    chunks = any(topic == DERIVED for topic, _ in positions)
    return all(
        positions.get(place, 0) >= end
        for place, end in ends.items()
        if chunks or place[0] != DERIVED
    )


def topics_of(unit: str, on: Engines) -> list[str]:
    """Returns the topics that a unit's generations are made of, and what is derived last."""
    topics = sorted(compose.UNITS[unit](on).topics)
    return [*topics, DERIVED] if unit == "timelines" else topics


def keys_of(
    sides: Iterable[GenerationSide], kind: Kind, sample: int | None, random: Random
) -> AsyncIterator[Key]:
    """Yields the keys of a kind that any of the generations has: all, or so many by chance."""
    stores = [side.store for side in sides]
    if sample is None:
        return keys.every(stores, kind.tables)
    return keys.sampled(stores, kind.tables, random, sample)
