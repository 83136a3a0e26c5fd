"""One worker: one unit, fed from its topics until it is asked to stop or cannot go on.

1. Open the unit and wait for its topics, trying again while an engine is away.
2. Start the watchdog, the metrics' port and the Faust app with its one agent.
3. Wait: for the request to stop, for the loop to end the worker, or for Faust to crash.
4. Finish what is in hand, carry positions to every bucket, so that the next worker is handed
   nothing again, commit, leave the group, close the unit; all within ``grace_seconds``.

The caller owns the process: it sets ``stop`` on SIGTERM and ends the process with the returned exit
code by ``os._exit``, since a broker that is away can hold Faust's consumer thread past the grace.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from events.ranges import Ranges
from projections.base import Unit
from streams import topology
from streams.activity import Activity
from streams.agents import SliceLoop
from streams.dead_letters import DeadLetters
from streams.decisions import DEAD_LETTERS, REDRIVE, Decisions, Decoder
from streams.errors import Defect, OperatorNeeded, Restart, Stopping, WorkerEnded
from streams.metrics import Metrics
from streams.quiet import quieten
from streams.redrive import Redrives
from streams.resume import ResumeFromState, topic_ids
from streams.retry import Persistence
from streams.settings import WorkerSettings
from streams.transport import Consumer
from streams.watchdog import Progress, Watchdog, end_process

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 1.0


@dataclass(frozen=True)
class _Parts:
    """What one worker is made of."""

    unit: Unit
    settings: WorkerSettings
    stop: asyncio.Event
    app: faust.App
    loop: SliceLoop
    resume: ResumeFromState
    persistence: Persistence
    metrics: Metrics
    registry: CollectorRegistry
    activity: Activity
    watchdog: Watchdog
    log: Ranges


async def run_worker(
    settings: WorkerSettings,
    unit: Unit,
    decoder: Decoder,
    stop: asyncio.Event,
    *,
    registry: CollectorRegistry = REGISTRY,
    on_stall: Callable[[str], None] = end_process,
) -> int:
    """Feeds ``unit`` until ``stop`` is set or it cannot go on.

    Args:
        settings: Everything the worker is told.
        unit: What is fed; opened and closed here.
        decoder: Reads record values.
        stop: Set by the caller to end the worker within ``settings.grace_seconds``.
        registry: Where the metrics are declared.
        on_stall: What the watchdog does, with the last word, in its own thread.

    Returns:
        The process's exit code; ``streams.errors`` says what each means.
    """
    quieten()
    parts = _assemble(settings, unit, decoder, stop, registry, on_stall)
    try:
        ended = await _run(parts)
    except WorkerEnded as end:
        ended = end
    finally:
        parts.watchdog.stop()
    if ended is None:
        logger.info("unit %s: stopped", unit.name)
        return 0
    logger.critical("unit %s ends: %s", unit.name, ended)
    return ended.exit_code


def _assemble(
    settings: WorkerSettings,
    unit: Unit,
    decoder: Decoder,
    stop: asyncio.Event,
    registry: CollectorRegistry,
    on_stall: Callable[[str], None],
) -> _Parts:
    metrics, activity = Metrics(unit.name, registry), Activity()
    persistence = Persistence(stop, metrics, activity, settings.retry_seconds_max)
    resume = ResumeFromState(unit, settings, topic_ids(settings.kafka_bootstrap), persistence)
    app = topology.build_app(settings, unit, resume)
    log = Ranges(settings.kafka_bootstrap)
    loop = SliceLoop(
        unit,
        decoder,
        DeadLetters(settings.kafka_bootstrap, settings.physical(DEAD_LETTERS)),
        resume.ids,
        settings,
        persistence,
        metrics,
        activity,
        stop,
        _redrives(settings, unit, decoder, log),
    )
    topology.attach(app, settings, unit, loop.run)
    watchdog = Watchdog(unit.name, settings.stall_seconds, activity, on_stall)
    return _Parts(
        unit,
        settings,
        stop,
        app,
        loop,
        resume,
        persistence,
        metrics,
        registry,
        activity,
        watchdog,
        log,
    )


def _redrives(
    settings: WorkerSettings, unit: Unit, decoder: Decoder, log: Ranges
) -> Redrives | None:
    if REDRIVE not in unit.topics:
        return None
    decisions = Decisions(unit.name, settings, log, decoder)
    return Redrives(unit.name, unit.topics, decisions, log, decoder, settings)


async def _run(parts: _Parts) -> WorkerEnded | None:
    """Steps 1 to 4; returns why the worker ended, ``None`` when it was asked to."""
    _serve_metrics(parts.settings.metrics_port, parts.registry)
    try:
        with parts.activity.doing("opening the unit"):
            await parts.persistence.until_done("open", parts.unit.open)  # 1
        with parts.activity.doing("waiting for the topics"):
            await parts.resume.topics_exist()
    except Stopping:
        return None
    parts.watchdog.start()  # 2
    side = [asyncio.create_task(work) for work in (parts.loop.beat(), _observe(parts))]
    try:
        ended = await _until_end(parts)  # 3
    finally:
        for task in side:
            task.cancel()
    await _shut_down(parts)  # 4
    return ended


def _serve_metrics(port: int, registry: CollectorRegistry) -> None:
    if not port:
        return
    try:
        start_http_server(port, registry=registry)
    except OSError as error:
        raise OperatorNeeded(
            f"metrics cannot be served on port {port}: {error}; choose another port, or 0 for none"
        ) from error


async def _until_end(parts: _Parts) -> WorkerEnded | None:
    starting = asyncio.create_task(parts.app.start())
    stop = asyncio.create_task(parts.stop.wait())
    crash = asyncio.create_task(_crashed(parts.app))
    waiting: set[asyncio.Future[Any]] = {starting, stop, crash, parts.loop.ended}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if parts.loop.ended in done:
                return parts.loop.ended.result()
            if starting in done:
                waiting.discard(starting)
                if error := starting.exception():
                    return _ended_by(error)
            if crash in done:
                return _ended_by(crash.result())
            if stop in done:
                return None
    finally:
        for task in (starting, stop, crash):
            task.cancel()


async def _crashed(app: faust.App) -> BaseException:
    await app._crashed.wait()
    return app.crash_reason or RuntimeError("Faust gave no reason")


def _ended_by(error: BaseException) -> WorkerEnded | None:
    """What an exception out of Faust means to a supervisor."""
    if isinstance(error, WorkerEnded):
        return error
    if isinstance(error, Stopping):
        return None
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, KafkaError) and error.retriable:
        return Restart(f"the log is out of reach: {words}")
    return Defect(f"Faust crashed: {words}")


async def _shut_down(parts: _Parts) -> None:
    """Finishes, commits, leaves and closes; gives each up when its share of the grace is over."""
    started = time.monotonic()
    parts.stop.set()
    grace = parts.settings.grace_seconds
    await parts.loop.finish(grace * 0.5)
    beat = parts.unit.heartbeat()
    await _within(grace * 0.6 - (time.monotonic() - started), "the last heartbeat", beat)
    consumer = parts.app._consumer
    if isinstance(consumer, Consumer):
        # Faust stops the flow before it commits, and who polls meanwhile closes the books.
        last = grace * 0.7 - (time.monotonic() - started)
        await _within(last, "the last commit", consumer.commit())
    await _within(grace * 0.85 - (time.monotonic() - started), "Faust", parts.app.stop())
    await _within(grace * 0.95 - (time.monotonic() - started), "the unit", parts.unit.close())
    await _within(grace * 0.95 - (time.monotonic() - started), "reading", parts.log.close())


async def _within(seconds: float, what: str, work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=max(0.1, seconds))
    if not task.done():
        logger.warning("%s did not stop in time and is left to the end of the process", what)
        task.cancel()
        return
    if error := task.exception():
        logger.warning("%s stopped with %s: %s", what, type(error).__name__, error)


async def _observe(parts: _Parts) -> None:
    """Feeds watchdog and lag metrics about every second, until cancelled."""
    while True:
        await asyncio.sleep(OBSERVE_SECONDS)
        consumer = parts.app._consumer
        progress = consumer.progress() if isinstance(consumer, Consumer) else {}
        now = time.monotonic()
        parts.watchdog.stalls.observe(now, progress)
        parts.metrics.stalled_seconds.labels(parts.unit.name).set(
            parts.watchdog.stalls.longest(now)[2]
        )
        _count_lag(parts, progress)


def _count_lag(parts: _Parts, progress: dict[TP, Progress]) -> None:
    parts.metrics.lag.clear()  # a partition that moved to another worker is its to report
    for tp, state in progress.items():
        if state.resumed:
            topic = parts.settings.logical(tp.topic)
            parts.metrics.lag.labels(parts.unit.name, topic, str(tp.partition)).set(state.lag)
