"""A worker process: one unit, fed until SIGTERM or until it cannot go on.

`murmur worker` starts one of these per unit and count, and starts it anew when it ends by itself.
The exit status is the worker's own (see `streams.errors`); the last line on stderr says why.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

import uvloop
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from events.errors import EventsError
from infra import compose, generations, settings, trending
from infra.compose import Engines
from infra.levels import obeyed
from infra.replay.bounded import bounded
from projections.base import RetryableError, Unit
from projections.generations import GenerationError
from projections.timelines.fan_out import FanOut
from projections.timelines.unit import Timelines
from projections.trends.unit import Trends
from streams.errors import OperatorNeeded, Restart
from streams.settings import WorkerSettings
from streams.worker import run_worker

BACKGROUND_NICENESS = 5
"""Of the processes that deliver chunks."""

log = logging.getLogger("murmur.worker")


YOUNG_MAX = 100_000
"""Objects made and not freed before the collector looks at them: some slices."""


class Deliveries(Collector):
    """Entries that a worker added to cached timelines."""

    def __init__(self, unit: Timelines | FanOut) -> None:
        self._unit = unit

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yields the one counter."""
        metric = CounterMetricFamily("murmur_deliveries", "Entries added to cached timelines")
        metric.add_metric([], self._unit.deliveries)
        yield metric


async def run(unit_name: str, metrics_port: int, generation: str | None) -> int:
    """Feeds one generation of a unit, the one in service by default; returns the exit status."""
    loaded = settings.load().settings
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with compose.engines(loaded) as on:
            here = on.at({generations.state_of(unit_name): generation}) if generation else on
            await generations.register_first(here)
            one = await generations.registered(here, unit_name)
            unit = compose.UNITS[unit_name](here)
            async with obeyed(here, unit):
                return await _feed(here, bounded(unit, one.bounds), stop, metrics_port)
    except (RetryableError, EventsError) as error:
        log.critical("unit %s ends: %s", unit_name, error)
        return Restart.exit_code
    except GenerationError as error:
        log.critical("unit %s ends: %s", unit_name, error)
        return OperatorNeeded.exit_code


def collect_seldom() -> None:
    """Has the cyclic collector run a hundredth as often, and past what lives for ever.

    A slice is thousands of records that live until it is applied. By default every 700 of them
    begin a collection that finds nothing; that was a third of the CPU of counting likes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX)


async def _feed(on: Engines, unit: Unit, stop: asyncio.Event, metrics_port: int) -> int:
    if isinstance(unit, Timelines | FanOut):
        REGISTRY.register(Deliveries(unit))
    usual = WorkerSettings.slice_records_max
    worker = WorkerSettings(
        kafka_bootstrap=on.settings.kafka_bootstrap,
        group=on.group(unit.name),
        topic_prefix=on.settings.topic_prefix,
        slice_records_max=compose.SLICE_RECORDS_MAX.get(unit.name, usual),
        grace_seconds=on.settings.worker_grace_s,
        metrics_port=metrics_port,
    )
    decoder = compose.reader_codec(on)
    collect_seldom()
    if isinstance(unit, Trends):
        return await _while_leading(on, unit, run_worker(worker, unit, decoder, stop))
    if not isinstance(unit, FanOut):
        return await run_worker(worker, unit, decoder, stop)
    # What is long anyway gives way to what is short where they share a machine.
    os.nice(BACKGROUND_NICENESS)
    keeper = compose.tier_keeper(on)
    keeping = asyncio.create_task(keeper.run())
    keeping.add_done_callback(partial(_told, "tiers are not kept"))
    try:
        return await run_worker(worker, unit, decoder, stop)
    finally:
        keeping.cancel()
        await keeper.close()


async def _while_leading(on: Engines, unit: Trends, feeding: Coroutine[Any, Any, int]) -> int:
    """Feeds trends, and works them out where no other process does."""
    leader = trending.leader(on)
    REGISTRY.register(trending.TrendCounts(unit, leader))
    leading = asyncio.create_task(leader.run())
    leading.add_done_callback(partial(_told, "trends are not worked out"))
    try:
        return await feeding
    finally:
        leading.cancel()


def _told(what: str, task: asyncio.Task[None]) -> None:
    """Says why what runs beside the feeding ended; the feeding goes on without it."""
    if not task.cancelled() and (error := task.exception()):
        log.error("%s any more, restart this worker: %r", what, error)


def main() -> None:
    """`python -m infra.worker UNIT [METRICS_PORT [GENERATION]]`."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for library in ("faust", "mode", "aiokafka", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    unit, port, generation, *_ = [*sys.argv[1:], *(None,) * 3]
    if unit not in compose.UNITS or len(sys.argv) > 4:
        units = "|".join(compose.UNITS)
        log.critical("usage: python -m infra.worker %s [METRICS_PORT [GENERATION]]", units)
        sys.exit(OperatorNeeded.exit_code)
    status = uvloop.run(run(unit, int(port or 0), generation))
    logging.shutdown()
    # A broker that is away can hold Faust's consumer thread past the grace.
    os._exit(status)


if __name__ == "__main__":
    main()
