"""One engine as the gateway sees it: its breaker, the probe that closes it, and what operators see.

While the breaker is not closed a task probes the engine, at first after ``PROBE_SECONDS_MIN`` and
then less and less often, up to ``PROBE_SECONDS_MAX``; the pauses are spread, so that processes do
not probe in step. No client's request is spent on finding out whether the engine is back.

Bounded by: one probe at a time, each within ``probe_seconds``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from gateway.guards.breaker import Breaker, State, Thresholds
from gateway.metrics import GatewayMetrics
from projections.base import RetryableError

PROBE_SECONDS_MIN = 0.25
PROBE_SECONDS_MAX = 2.0
PROBE_SPREAD = 0.2

RECENT_MAX = 1_000
"""Calls between two looks at how long they took; the first are as good as all."""

log = logging.getLogger("gateway.guards")

Probe = Callable[[], Awaitable[object]]
"""Asks the engine for the least that shows that it works; raises where it does not."""


class EngineAway(RetryableError):
    """An engine is not asked because it does not answer; told at once.

    Attributes:
        engine: Which one.
        retry_after_seconds: When it is worth another try.
    """

    def __init__(self, engine: str, retry_after_seconds: int) -> None:
        super().__init__(
            f"{engine} does not answer and is not asked; try again in {retry_after_seconds} s"
        )
        self.engine = engine
        self.retry_after_seconds = retry_after_seconds


def engine_away(error: BaseException | None) -> EngineAway | None:
    """Returns the engine that is away, if that is what is behind an error."""
    while error is not None and not isinstance(error, EngineAway):
        error = error.__cause__
    return error


class Guard:
    """Watches one engine.

    Args:
        engine: Its name: ``store``, ``redis`` or ``log``.
        thresholds: Of the breaker.
        probe: Asks whether the engine is back.
        metrics: Where its state is shown.
        probe_seconds: Longest time of one probe.
        probe_closes: Whether probes count as the good calls that close a half-open breaker. Not
            where the probe shows less than a call does, as metadata do of a log.
        clock: Seconds on a clock that only goes forward.
    """

    def __init__(
        self,
        engine: str,
        thresholds: Thresholds,
        probe: Probe,
        metrics: GatewayMetrics,
        *,
        probe_seconds: float = 1.0,
        probe_closes: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self._breaker = Breaker(thresholds)
        self._probe = probe
        self._probe_seconds = probe_seconds
        self._probe_closes = probe_closes
        self._recent: list[float] = []
        self._probing: asyncio.Task[None] | None = None
        self._suspecting: asyncio.Task[None] | None = None
        self._next_probe_at = 0.0
        self._changed_at = float("-inf")
        self._shown = metrics.breaker_state.labels(engine)
        self._refused = metrics.breaker_refused.labels(engine)
        self._opened = metrics.breaker_opened.labels(engine)
        self._shown.set(State.CLOSED)

    @property
    def state(self) -> State:
        """Of the breaker."""
        return self._breaker.state

    @property
    def away(self) -> bool:
        """Whether the engine is taken for away: the breaker is not closed."""
        return self._breaker.state is not State.CLOSED

    @property
    def retry_after_seconds(self) -> int:
        """When the next probe will have told; 1 at least."""
        return max(1, math.ceil(self._next_probe_at - self.clock()))

    @property
    def refuses(self) -> bool:
        """Whether nothing at all is let through: the breaker is open."""
        return self._breaker.state is State.OPEN

    def admit(self) -> bool:
        """Says whether the engine may be asked; if so, end with :meth:`ended`."""
        if self._breaker.admit():
            return True
        self._refused.inc()
        return False

    def ended(self) -> None:
        """Ends what :meth:`admit` began."""
        self._breaker.ended()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Surrounds a call; results are told by :meth:`answered` and :meth:`failed`.

        Raises:
            EngineAway: the engine is not asked.
        """
        if not self.admit():
            raise EngineAway(self.engine, self.retry_after_seconds)
        try:
            yield
        finally:
            self._breaker.ended()

    def answered(self, seconds: float) -> None:
        """Counts an answer."""
        before = self._breaker.state
        if len(self._recent) < RECENT_MAX:
            self._recent.append(seconds)
        self._changed(before, self._breaker.answered(seconds, self.clock()), "it was slow")

    def take_recent(self) -> list[float]:
        """Returns how long the calls took that were answered since the last time, seconds."""
        recent, self._recent = self._recent, []
        return recent

    def failed(self, why: object, began: float | None = None) -> None:
        """Counts a failure.

        Args:
            why: For the log.
            began: When the call began. What began before the breaker's last change tells nothing
                that was not known then: an append that times out after the log is back, for one.
        """
        if began is not None and began < self._changed_at:
            return
        before = self._breaker.state
        self._changed(before, self._breaker.failed(self.clock()), why)

    def require(self) -> None:
        """Checks that the engine is not taken for away.

        Raises:
            EngineAway: it is.
        """
        if self.away:
            raise EngineAway(self.engine, self.retry_after_seconds)

    async def check(self) -> str:
        """Asks the engine, for ``/readyz``.

        Raises:
            EngineAway: its breaker is not closed.
            Exception: what the probe raises.
        """
        self.require()
        await self._probe()
        return "answers"

    def suspect(self, why: str) -> None:
        """Probes now; opens the breaker if that is not answered."""
        if not self.away and self._suspecting is None:
            self._suspecting = asyncio.create_task(self._suspected(why))

    async def close(self) -> None:
        """Stops probing."""
        tasks = [task for task in (self._probing, self._suspecting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, before: State, after: State, why: object) -> None:
        if before is after:
            return
        self._shown.set(after)
        self._changed_at = self.clock()
        if after is State.OPEN:
            self._opened.inc()
            log.warning("breaker %s: %s -> open: %s", self.engine, before.name.lower(), why)
            if self._probing is None:
                self._probing = asyncio.create_task(self._until_closed())
        else:
            log.warning(
                "breaker %s: %s -> %s", self.engine, before.name.lower(), after.name.lower()
            )

    async def _suspected(self, why: str) -> None:
        try:
            async with asyncio.timeout(self._probe_seconds):
                await self._probe()
        except Exception as error:
            before = self._breaker.state
            if before is State.CLOSED:
                self._changed(before, self._breaker.open(), f"{why}; {error!r}")
        finally:
            self._suspecting = None

    async def _until_closed(self) -> None:
        pause = PROBE_SECONDS_MIN
        while self.away:
            spread = random.uniform(1 - PROBE_SPREAD, 1 + PROBE_SPREAD)
            self._next_probe_at = self.clock() + pause * spread
            await asyncio.sleep(pause * spread)
            began = self.clock()
            before = self._breaker.state
            try:
                async with asyncio.timeout(self._probe_seconds):
                    await self._probe()
            except Exception as error:
                # Whatever it was, the engine does not work; the reason is in the log.
                self.failed(repr(error))
                pause = min(2 * pause, PROBE_SECONDS_MAX)
                continue
            pause = PROBE_SECONDS_MIN
            if before is State.OPEN:
                self._changed(before, self._breaker.probed(), "")
            elif self._probe_closes:
                self.answered(self.clock() - began)
        self._probing = None
