"""Pushes wait while the level of degrading is 1 or higher.

A router measures nothing itself. Its load is on the store and on Redis, which all gateways share,
so it obeys the highest level that any of them measured, and an operator's order before that.

What is due while it waits is kept: the router reads no further, and goes on where it was. What has
become older than ``infra.router.route.AGE_MAX_MS`` by then is dropped, as after any outage: it is
told in the app alone.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.levels.level import Claim, Feature, Level, Levels, Said
from infra.levels import now_ms
from infra.router.metrics import RouterMetrics

POLL_SECONDS = 0.2

log = logging.getLogger("murmur.router")


class Stopped(Exception):
    """The router was told to stop while pushes waited."""


class Pausing:
    """Says when to go on.

    Args:
        stop: Set when the router is to end.
        metrics: Where the level is shown.
    """

    def __init__(self, stop: asyncio.Event, metrics: RouterMetrics) -> None:
        self.levels = Levels(now_ms, self._changed)
        self._stop = stop
        self._metrics = metrics

    async def told(self, said: Said) -> None:
        """Takes what is said to all processes."""
        worst = max(said.claims, key=lambda claim: claim.level, default=Claim("", Level.NORMAL))
        self.levels.measured(worst.level, f"{worst.reason}, by {worst.process}")
        self.levels.heard(said)

    async def __call__(self) -> None:
        """Returns when pushes are on.

        Raises:
            Stopped: the router is to end.
        """
        while not self.levels.has(Feature.PUSHES):
            if self._stop.is_set():
                raise Stopped
            await asyncio.sleep(POLL_SECONDS)

    def _changed(self, level: Level, why: str) -> None:
        self._metrics.level.set(level)
        words = "pushes go on" if self.levels.has(Feature.PUSHES) else "pushes wait"
        log.warning("level %d: %s (%s)", level, words, why or "nothing asks for more")
