"""The same work again, until it succeeds or the worker stops: for failures that pass.

Keeps true: the work keeps its place (nothing else of the partition is done meanwhile), the log gets
one line when work of a kind starts to fail and one when all of that kind works again, and a stop
ends the wait at once.
Bound: waits are random, so that workers do not return in step, below a limit that grows from 0.2 s
to ``seconds_max``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

import events.errors
import projections.base
from streams.activity import Activity
from streams.errors import Stopping
from streams.metrics import Metrics

T = TypeVar("T")

logger = logging.getLogger(__name__)

# What passes: an engine is away. An append of unknown outcome may be repeated here because what
# workers append is deduplicated by its readers.
PASSING = (
    events.errors.RetryableError,
    events.errors.OutcomeUnknown,
    projections.base.RetryableError,
)


class Persistence:
    """Tries again for one worker."""

    def __init__(
        self, stopping: asyncio.Event, metrics: Metrics, activity: Activity, seconds_max: float
    ) -> None:
        self._stopping = stopping
        self._metrics = metrics
        self._activity = activity
        self._wait = wait_random_exponential(multiplier=0.2, max=seconds_max)
        self._failing: Counter[str] = Counter()

    async def until_done(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Runs ``work`` until it does not fail for a passing reason.

        Args:
            what: One word for the metric and the log, such as ``apply``.
            work: Called anew for each try.

        Raises:
            Stopping: The worker was asked to stop between two tries.
        """
        tries = AsyncRetrying(
            retry=retry_if_exception_type(PASSING),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=lambda state: self._failed(what, state),
        )

        async def attempt() -> T:
            return await work()

        try:
            result: T = await tries(attempt)
        except Stopping:
            raise
        except BaseException:
            self._answered(what, tries)
            raise
        self._answered(what, tries)
        return result

    def _failed(self, what: str, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        words = f"{what}: {type(error).__name__}: {error}"
        self._activity.trouble(words)
        self._metrics.retries.labels(self._metrics.unit, what).inc()
        if state.attempt_number > 1:
            return
        self._failing[what] += 1
        if self._failing[what] == 1:
            self._metrics.retrying.labels(self._metrics.unit).set(1)
            logger.warning("unit %s is retrying %s", self._metrics.unit, words)

    def _answered(self, what: str, tries: AsyncRetrying) -> None:
        if tries.statistics["attempt_number"] == 1:
            return
        self._failing -= Counter({what: 1})
        if what not in self._failing:
            self._metrics.retrying.labels(self._metrics.unit).set(1 if self._failing else 0)
            self._activity.trouble("")
            logger.warning("unit %s no longer retries %s", self._metrics.unit, what)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise Stopping("asked to stop while an engine was away")
