"""Reading one's own writes: a request is held until the units that serve it have applied a
position.

Keeps true: a request that names positions is served only once every unit of its route that reads
the position's topic has applied it; else it ends in 504 naming the unit that lags. A topic that
none of the route's units reads is nothing to wait for.

Bounded by ``WAIT_POSITIONS_MAX`` positions a request, ``WAIT_SECONDS_MAX`` in all, and one
question at a time per unit and source partition, however many requests wait for it: the waiters
share the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from events.position import Position
from gateway.limits import WAIT_POSITIONS_MAX, WAIT_SECONDS_MAX
from gateway.metrics import GatewayMetrics
from gateway.problems import Problem, bad_request

POLL_FIRST_SECONDS = 0.002
POLL_MAX_SECONDS = 0.05


class Applied(Protocol):
    """Where a unit is; ``projections.positions.AppliedPositions`` is one."""

    async def at(self, source: str) -> int:
        """Returns the next offset that the unit will apply of ``topic/partition``."""
        ...


class UnitReads(Protocol):
    """A unit as waits see it."""

    @property
    def topics(self) -> frozenset[str]:
        """Logical topics that feed it."""
        ...

    @property
    def applied(self) -> Applied:
        """Where it is."""
        ...


def parse_positions(text: str) -> list[Position]:
    """Reads the value of ``X-Wait-For``: positions with commas between.

    Raises:
        Problem: 400, not that, or too many.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > WAIT_POSITIONS_MAX:
        raise _malformed(f"At most {WAIT_POSITIONS_MAX} positions can be waited for at once.")
    try:
        return [Position.parse(part) for part in parts]
    except ValueError as error:
        raise _malformed(
            "Send positions as X-Event-Position gave them, with commas between."
        ) from error


class Waits:
    """Holds requests until positions are applied.

    Args:
        units: The units by name.
        metrics: Where held time is counted.
        seconds_max: Longest hold.
    """

    def __init__(
        self,
        units: Mapping[str, UnitReads],
        metrics: GatewayMetrics,
        seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        self._units = units
        self._metrics = metrics
        self._seconds_max = seconds_max
        self._polls: dict[tuple[str, str], asyncio.Task[int]] = {}
        self._seen: dict[tuple[str, str], int] = {}

    async def wait(self, positions: Sequence[Position], units: Sequence[str]) -> None:
        """Returns once every named unit has applied every position that concerns it.

        Raises:
            Problem: 504, a unit did not get there in time.
            RetryableError: the engine that keeps positions is away.
        """
        deadline = time.monotonic() + self._seconds_max
        for name in units:
            for position in positions:
                if position.topic in self._units[name].topics:
                    await self._wait_one(name, position, deadline)

    async def _wait_one(self, name: str, position: Position, deadline: float) -> None:
        source = f"{position.topic}/{position.partition}"
        began = time.monotonic()
        pause = POLL_FIRST_SECONDS
        try:
            while await self._reached(name, source) <= position.offset:
                if time.monotonic() + pause >= deadline:
                    self._metrics.waits_timed_out.labels(name).inc()
                    raise _lags(name, position, self._seconds_max, self._seen[name, source])
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, POLL_MAX_SECONDS)
        finally:
            self._metrics.wait_seconds.labels(name).observe(time.monotonic() - began)

    async def _reached(self, name: str, source: str) -> int:
        """Asks where the unit is, together with all who ask the same meanwhile."""
        key = (name, source)
        poll = self._polls.get(key)
        if poll is None:
            poll = asyncio.ensure_future(self._units[name].applied.at(source))
            self._polls[key] = poll
            poll.add_done_callback(lambda _: self._polls.pop(key, None))
        # One who gives up must not cancel the question of the others.
        reached = await asyncio.shield(poll)
        self._seen[key] = reached
        return reached


def _malformed(detail: str) -> Problem:
    return bad_request(
        "invalid-wait-for", "X-Wait-For", f"{detail} One looks like new-tweets/3@1234."
    )


def _lags(name: str, position: Position, seconds: float, reached: int) -> Problem:
    return Problem(
        504,
        "projection-lags",
        f"The unit {name} has not applied {position} within {seconds:g} s; its next offset of "
        f"{position.topic}/{position.partition} is {reached}. Ask again later, or without "
        f"X-Wait-For for what is there now.",
        headers=[("retry-after", "1")],
    )
