"""How far a generation is: its positions beside the ends of the log, and what that makes of it.

Read from the state and the log, never from a worker, so that it holds when none runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from events.admin import Admin
from infra import compose
from infra.compose import Engines
from projections.generations import Bounds

Places = Mapping[str, int]
"""Next offset by ``topic/partition``."""

OffsetsOf = Callable[[str], Awaitable[Mapping[int, int]]]
"""Answers with an offset of each partition of a topic."""


class Progress(msgspec.Struct, frozen=True):
    """How far a generation is at a moment.

    Attributes:
        at: The moment, seconds of the monotonic clock.
        first: Where it began.
        applied: Next offset that it will apply.
        ends: Where it is to come to: the end of the log, or of its part of it.
    """

    at: float
    first: Places
    applied: Places
    ends: Places

    @property
    def total(self) -> int:
        """Records from its begin to its end."""
        return sum(max(0, end - self.first.get(at, 0)) for at, end in self.ends.items())

    @property
    def lag(self) -> dict[str, int]:
        """Records not applied yet by ``topic/partition``; partitions without any left out."""
        return {
            at: end - self._position(at)
            for at, end in self.ends.items()
            if end > self._position(at)
        }

    @property
    def behind(self) -> int:
        """Records not applied yet."""
        return sum(self.lag.values())

    @property
    def done(self) -> int:
        """Records applied."""
        return self.total - self.behind

    def rate(self, before: Progress) -> float:
        """Records applied a second since an earlier look."""
        moved = sum(max(0, self._position(at) - before._position(at)) for at in self.ends)
        return moved / max(0.001, self.at - before.at)

    def reached(self, ends: Places) -> bool:
        """Whether everything up to some ends is applied."""
        return all(self._position(at) >= end for at, end in ends.items())

    def _position(self, source: str) -> int:
        return max(self.applied.get(source, 0), self.first.get(source, 0))


class Looks:
    """Looks at one generation of a unit.

    Args:
        on: The engines, at that generation.
        unit: The unit.
        bounds: What part of the log it is built of.
    """

    def __init__(self, on: Engines, unit: str, bounds: Bounds) -> None:
        self._admin = Admin(on.settings.kafka_bootstrap, on.topics, on.settings.kafka_options)
        self._topics = sorted(compose.UNITS[unit](on).topics)
        self._applied = on.applied(unit)
        self._bounds = bounds
        self._earliest: dict[str, int] | None = None

    async def look(self) -> Progress:
        """Returns how far it is; the ends are older than the positions.

        Raises:
            EventsError, RetryableError: an engine is away.
        """
        if self._earliest is None:
            self._earliest = await self._places(self._admin.first_offsets)
        ends = {**await self._places(self._admin.end_offsets), **self._bounds.end}
        return Progress(
            at=time.monotonic(),
            first={**self._earliest, **self._bounds.first},
            applied=await self._applied.all(),
            ends=ends,
        )

    async def _places(self, ask: OffsetsOf) -> dict[str, int]:
        answers = await asyncio.gather(*map(ask, self._topics))
        return {
            f"{topic}/{partition}": offset
            for topic, offsets in zip(self._topics, answers, strict=True)
            for partition, offset in offsets.items()
        }
