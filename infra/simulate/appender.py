"""Putting simulated events into the log at a given rate.

The generator runs inside the event loop, `TICK_S` worth of events at a time; ids are minted ahead
in batches, since the generator is synchronous. Bounds: `IN_FLIGHT_MAX` appends under way; a second
of delay is caught up with, more is forgotten.

An event whose fate is unknown is counted and not appended again: the log, not this module, is what
the oracle is fed from.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

from events.errors import OutcomeUnknown, RetryableError
from events.position import Position
from events.types import Event
from infra.simulate.clock import WallClock
from infra.simulate.generator import Plan, Simulation

TICK_S = 0.02
CHUNK_MAX = 500
IN_FLIGHT_MAX = 5_000
IDS_PER_EVENT_MAX = 2
IDS_AHEAD = 1_000
BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
BEHIND_S_MAX = 1.0


class Log(Protocol):
    """The log, as far as it is written to."""

    async def append(self, event: Event) -> Position:
        """Append an event."""
        ...


class Minter(Protocol):
    """Mints ids under a lease."""

    async def mint_many(self, count: int) -> list[int]:
        """``count`` new ids, ascending."""
        ...


class IdPool:
    """Ids minted ahead, for a synchronous generator; never more than a tick old when it counts."""

    def __init__(self, minter: Minter) -> None:
        self._minter = minter
        self._ids: deque[int] = deque()

    def __call__(self) -> int:
        """The next id; `IndexError` when `fill` was not asked for enough."""
        return self._ids.popleft()

    async def fill(self, count: int) -> None:
        """Have at least ``count`` ids at hand."""
        if len(self._ids) < count:
            self._ids.extend(await self._minter.mint_many(count + IDS_AHEAD - len(self._ids)))


class Appender:
    """One simulated population on its way into the log.

    Attributes:
        simulation: The population.
        appended: Events acknowledged by the log.
        unknown: Events that may or may not be in the log.
        retried: Appends tried again because the log could not take them.
    """

    def __init__(self, log: Log, simulation: Simulation, ids: IdPool) -> None:
        self.simulation = simulation
        self.appended = 0
        self.unknown = 0
        self.retried = 0
        self._log = log
        self._ids = ids
        self._source = simulation.events()
        self._places = asyncio.Semaphore(IN_FLIGHT_MAX)

    @classmethod
    async def open(cls, log: Log, minter: Minter, plan: Plan) -> Appender:
        """Make the population; needs an id for each user."""
        ids = IdPool(minter)
        await ids.fill(plan.users)
        return cls(log, Simulation(plan, WallClock(), ids), ids)

    async def run(self, *, rate: float, events: int | None, stop: asyncio.Event) -> None:
        """Append until ``events`` have been generated or ``stop`` is set, then wait for the last.

        Run again, the population goes on where it ended.

        Args:
            rate: Events a second at average load; 0 is as fast as the log takes them.
            events: How many; None is no limit.
            stop: Set to end early.

        Raises:
            EventsError: The log refuses an event for good.
        """
        left = events
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set() and left != 0:
                pace = rate * self.simulation.load
                size = min(CHUNK_MAX, max(1, int(pace * TICK_S)) if rate else CHUNK_MAX)
                size = size if left is None else min(size, left)
                await self._chunk(group, size)
                left = None if left is None else left - size
                due = max(due + (size / pace if rate else 0), time.monotonic() - BEHIND_S_MAX)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _chunk(self, group: asyncio.TaskGroup, size: int) -> None:
        await self._ids.fill(size * IDS_PER_EVENT_MAX + IDS_PER_EVENT_MAX)
        for _ in range(size):
            await self._places.acquire()
            group.create_task(self._append(next(self._source)))

    async def _append(self, event: Event) -> None:
        attempt = 0
        try:
            while True:
                try:
                    await self._log.append(event)
                except RetryableError:
                    self.retried += 1
                    await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                    attempt += 1
                except OutcomeUnknown:
                    self.unknown += 1
                    return
                else:
                    self.appended += 1
                    return
        finally:
            self._places.release()
