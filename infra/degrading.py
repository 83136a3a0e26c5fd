"""What a gateway process measures of itself and of what it stands on, to know its level by.

- *event loop*: by how much a short sleep ends late, averaged over about a second;
- *requests under way*, as a share of the places;
- *p99* of the calls to Redis and to the store that were answered in the last seconds, by the guards
  that they pass through;
- *lag* of the units, in seconds: how long ago the log ended where a unit is now. It is told by all
  partitions of a unit together, so one that is stuck for itself is no overload (``/readyz`` shows
  it), and it is counted from this process's start on.

Bounded by: ``LOOKS_MAX`` looks at the log kept per unit, ``RECENT_MAX`` calls per engine and
second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from events.admin import Admin
from events.errors import EventsError, StoreUnavailable
from gateway.guards.guard import Guard
from gateway.guards.guards import Guards
from gateway.levels.admission import Admission
from gateway.levels.level import Claim, Feature, Level, Levels, Said
from gateway.levels.measure import (
    FAN_OUT,
    LAG,
    LOOP,
    REDIS,
    STORE,
    UNDER_WAY,
    Measure,
    MeasureSettings,
)
from gateway.limits import REQUESTS_MAX
from gateway.metrics import GatewayMetrics
from infra.levels import CLAIM_SECONDS, Orders, heard, now_ms, told_why
from infra.settings import Settings
from projections.base import RetryableError
from projections.positions import AppliedPositions
from projections.timelines.fan_out import NAME as CHUNKS
from projections.timelines.unit import NAME as TIMELINES

TICK_SECONDS = 0.1
SMOOTHING = 0.1
"""Weight of one look at the event loop: ten of them are a second."""

OBSERVE_SECONDS = 1.0
CALLS_MIN = 20
"""Fewer calls in the window have no p99."""

WINDOW_LOOKS = 5
"""Seconds of calls in the window."""

LAG_SECONDS = 2.0
"""How often the log is asked where it ends."""

LOOKS_MAX = 1_000
"""Looks kept: half an hour, more than any threshold."""

log = logging.getLogger(__name__)


class Behind:
    """How long ago the log ended where a unit is now."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, int]] = deque(maxlen=LOOKS_MAX)

    def look(self, now: float, end: int, applied: int) -> float:
        """Takes one look; returns the lag in seconds.

        Args:
            now: Seconds on a clock that only goes forward.
            end: Where the log ends, all partitions together.
            applied: How far the unit is, likewise.
        """
        self._ends.append((now, end))
        passed = [at for at, then in self._ends if then <= applied]
        return now - (passed[-1] if passed else self._ends[0][0])


class Slowest:
    """p99 of the calls of one engine in the last seconds."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._looks: deque[Sequence[float]] = deque(maxlen=WINDOW_LOOKS)

    def look(self) -> float:
        """Returns seconds; 0 where there were too few calls to tell."""
        self._looks.append(self._guard.take_recent())
        calls = sorted(second for look in self._looks for second in look)
        return calls[int(len(calls) * 0.99)] if len(calls) >= CALLS_MIN else 0.0


class UnitPlace(Protocol):
    """Where a unit is, and what it reads."""

    @property
    def topics(self) -> frozenset[str]:
        """Names of its topics."""
        ...

    @property
    def applied(self) -> AppliedPositions:
        """Its positions."""
        ...


class Degrading:
    """The levels of one gateway process: measured, heard, shown.

    Args:
        settings: Thresholds.
        guards: See the calls to the engines.
        admin: Asks where the log ends.
        orders: Where orders, and levels that concern all, are said.
        metrics: Where signals and the level are shown.

    Attributes:
        levels: Which level is in force.
        admission: Who is let in.
    """

    def __init__(
        self,
        settings: Settings,
        guards: Guards,
        admin: Admin,
        orders: Orders,
        metrics: GatewayMetrics,
    ) -> None:
        self._settings = settings
        self._guards = guards
        self._admin = admin
        self._orders = orders
        self._metrics = metrics
        self._slowest = {REDIS: Slowest(guards.redis), STORE: Slowest(guards.store)}
        self._units: Mapping[str, UnitPlace] = {}
        self._behind: dict[str, Behind] = {}
        self._lags: dict[str, float] = {}
        self._measure = Measure(
            MeasureSettings(
                highest=Level(settings.degrade_auto_max),
                rise_seconds=settings.degrade_rise_s,
                hold_seconds=settings.degrade_hold_s,
            )
        )
        self._process = f"{socket.gethostname()}:{settings.gateway_port}:{os.getpid()}"
        self.levels = Levels(now_ms, self._changed)
        self.admission = Admission(delay_seconds=settings.degrade_loop_s)

    def watch(self, units: Mapping[str, UnitPlace]) -> None:
        """Takes the units that are served, whose lag counts from now on."""
        self._units = units
        self._behind = {name: Behind() for name in units}
        self._lags = {}

    def loads_counts(self) -> bool:
        """Whether counts that Redis does not hold are read from the store."""
        return self.levels.has(Feature.FRESH_COUNTS)

    async def check(self) -> str:
        """The level, for ``/readyz``: a degraded system is ready for what it still does."""
        return self.levels.shown()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Measures and hears until the end of the context."""
        await self._orders.create()
        tasks = [
            asyncio.create_task(work)
            for work in (
                heard(self._orders, self._told),
                self._watch_loop(),
                self._watch_lag(),
                self._observe(),
                self._claim(),
            )
        ]
        for task in tasks:
            task.add_done_callback(told_why)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _told(self, said: Said) -> None:
        self.levels.heard(said)

    def _changed(self, level: Level, why: str) -> None:
        self._metrics.level.set(level)
        log.warning("level %d: %s (%s)", level, level.words, why or "nothing asks for more")

    async def _watch_loop(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            late = max(0.0, time.monotonic() - began - TICK_SECONDS)
            self.admission.delay += SMOOTHING * (late - self.admission.delay)

    async def _watch_lag(self) -> None:
        # Nothing is entered by it where nothing is entered: the log need not be asked.
        while self._settings.degrade_auto_max:
            try:
                await self._look_at_lag()
            except (EventsError, RetryableError) as error:
                log.debug("the units' lag is not known: %s", error)
                self._lags = {}
            await asyncio.sleep(LAG_SECONDS)

    async def _look_at_lag(self) -> None:
        self._guards.log.require()
        self._guards.store.require()
        units = self._units
        topics = sorted({topic for unit in units.values() for topic in unit.topics})
        found = await asyncio.gather(*map(self._admin.end_offsets, topics))
        ends = dict(zip(topics, found, strict=True))
        for name, unit in units.items():
            at = await unit.applied.all()
            sources = [
                (f"{topic}/{partition}", end)
                for topic in unit.topics
                for partition, end in ends[topic].items()
            ]
            applied = sum(min(end, at.get(source, 0)) for source, end in sources)
            if self._units is units:
                behind = self._behind[name]
                end = sum(end for _, end in sources)
                self._lags[name] = behind.look(time.monotonic(), end, applied)

    async def _observe(self) -> None:
        while True:
            signals = self._signals()
            for name, value in signals.items():
                self._metrics.signals.labels(name).set(value)
            level = self._measure.observe(signals, time.monotonic())
            self.levels.measured(level, self._measure.reason if level else "")
            await asyncio.sleep(OBSERVE_SECONDS)

    def _signals(self) -> dict[str, float]:
        """Returns the signals as multiples of their thresholds."""
        settings, lags = self._settings, self._lags
        delivery = max(lags.get(TIMELINES, 0.0), lags.get(CHUNKS, 0.0))
        share = self.admission.under_way / REQUESTS_MAX
        return {
            LOOP: self.admission.delay / settings.degrade_loop_s,
            UNDER_WAY: share / settings.degrade_under_way,
            REDIS: self._slowest[REDIS].look() / settings.degrade_redis_s,
            STORE: self._slowest[STORE].look() / settings.degrade_store_s,
            LAG: max(lags.values(), default=0.0) / settings.degrade_lag_s,
            FAN_OUT: delivery / settings.degrade_lag_s,
        }

    async def _claim(self) -> None:
        """Says what was measured to all, for as long as it matters."""
        claimed = Level.NORMAL
        said_at = 0.0
        while True:
            level, now = self._measure.level, time.monotonic()
            if level is not claimed or (level and now - said_at >= CLAIM_SECONDS):
                try:
                    await self._say(level)
                    claimed, said_at = level, now
                except StoreUnavailable as error:
                    log.debug("what was measured is not said: %s", error)
            await asyncio.sleep(OBSERVE_SECONDS)

    async def _say(self, level: Level) -> None:
        if level:
            await self._orders.claim(Claim(self._process, level, self._measure.reason))
        else:
            await self._orders.unclaim(self._process)
