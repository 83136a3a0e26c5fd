"""The number and age of open dead letters, as metrics of a gateway process.

The letters are kept up with the log, so a look costs a request for the ends of two topics and what
is new in them. An engine that is away leaves the numbers as they were.

Bounded by: a look every ``LOOK_SECONDS``.
"""

from __future__ import annotations

import asyncio
import logging
import time

from events.errors import EventsError
from gateway.metrics import GatewayMetrics
from infra import compose
from infra.letters.desk import Census, Reading, census
from projections.base import RetryableError

LOOK_SECONDS = 15.0

log = logging.getLogger("murmur.letters")


async def watch(reading: Reading, metrics: GatewayMetrics) -> None:
    """Sets the metrics every ``LOOK_SECONDS``, until cancelled."""
    told = False
    while True:
        try:
            await reading.refresh()
            found = census(reading.book, await reading.states())
        except (EventsError, RetryableError) as error:
            if not told:
                log.warning("dead letters are not counted: %s", error)
            told = True
        else:
            told = False
            for unit in compose.UNITS:
                one = found.get(unit, Census())
                age = max(0.0, time.time() - one.oldest_at / 1000) if one.count else 0.0
                metrics.dead_letters.labels(unit).set(one.count)
                metrics.dead_letter_age.labels(unit).set(age)
        await asyncio.sleep(LOOK_SECONDS)
