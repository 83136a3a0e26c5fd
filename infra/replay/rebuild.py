"""A replay: the next generation of a unit, built from the log beside the one in service.

1. Find the generation that is being built, or begin the next one; make its tables.
2. Start worker processes for it, the same that feed any generation, and look how far they are.
3. When they have applied what the log held at the last look, they are at the live end: say that
   the generation is ready, so that the standing workers (``murmur worker``) feed it.
4. End the processes. Whoever feeds it next resumes from its state.

A replay may be stopped or killed at any point and begun again: what is built is in the state.

Nothing leaves the system by a replay: units append nothing while they are built (see
:mod:`projections.timelines.unit`), and dead letters that were buried before are not listed twice.

Bounded by: ``workers`` processes; one look a ``LOOK_SECONDS``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from events.admin import Admin
from infra import compose
from infra.compose import Engines
from infra.demo.children import Worker
from infra.feeding import GRACE_EXTRA_S, RESTARTED
from infra.generations import misfit, now_ms, register_first, state_of
from infra.replay.progress import Looks, Progress
from infra.tasks import cancelled
from projections.generations import WHOLE, Bounds, Generation, GenerationError, State
from projections.positions import begin_at
from projections.timelines.chunks import Chunks
from projections.timelines.fan_out import NAME as FAN_OUT
from projections.timelines.unit import NAME as TIMELINES

LOOK_SECONDS = 0.5


async def begin(on: Engines, unit: str, bounds: Bounds = WHOLE) -> Generation:
    """Step 1: returns the generation that is to be built, with its tables made.

    Raises:
        GenerationError: the one that is being built is of another program.
        StoreUnavailable, RetryableError: an engine is away.
    """
    await register_first(on)
    state = State.BUILDING if bounds.whole else State.PARTIAL
    found = next(
        (
            one
            for one in await on.generations.of(unit)
            if one.state is state and one.bounds == bounds
        ),
        None,
    )
    if found is None:
        found = await on.generations.begin(
            unit,
            layout=compose.UNITS[unit](on).layout,
            buckets=on.buckets(unit)[0],
            now_ms=now_ms(),
            bounds=bounds,
        )
    elif why := misfit(on, found):
        raise GenerationError(f"{why}, after `murmur drop {unit} {found.name}`")
    there = on.at({unit: found.name})
    for name in compose.UNITS:
        if state_of(name) == unit:
            await compose.UNITS[name](there).open()
    return found


class Rebuild:
    """Steps 2 to 4, for one generation.

    Args:
        on: The engines.
        one: The generation.
        workers: Processes that feed it.
        report: Told how far it is, now and before.
        log_dir: Folder of the processes' logs; None leaves their words to the terminal.
    """

    def __init__(
        self,
        on: Engines,
        one: Generation,
        *,
        workers: int = 1,
        report: Callable[[Progress, Progress], None] = lambda now, before: None,
        log_dir: Path | None = None,
    ) -> None:
        self._on = on
        self._there = on.at({one.unit: one.name})
        self._one = one
        self._workers = workers
        self._report = report
        self._log_dir = log_dir

    async def run(self) -> Progress:
        """Builds until the live end is reached, or the end of the part; returns how far that is.

        Raises:
            ChildFailed: a worker ended for a reason that another one would not cure.
            GenerationError: the generation was dropped meanwhile.
            EventsError, RetryableError: an engine is away; what is built stays.
        """
        looks = Looks(self._there, self._one.unit, self._one.bounds)
        first = await looks.look()
        if not first.behind:
            return await self._ready(first)
        async with AsyncExitStack() as ending:
            keeping = [await self._start(ending, at) for at in range(self._workers)]
            watching = asyncio.create_task(self._watch(looks, first))
            try:
                await asyncio.wait([watching, *keeping], return_when=asyncio.FIRST_COMPLETED)
                for task in keeping:
                    if task.done():
                        task.result()
                reached = await watching
            finally:
                await cancelled(watching, *keeping)
        return reached

    async def _start(self, ending: AsyncExitStack, at: int) -> asyncio.Task[None]:
        log_dir = self._log_dir / f"replay-{at}" if self._log_dir else None
        worker = Worker(self._one.unit, log_dir, {}, generation=self._one.name)
        ending.push_async_callback(worker.stop, self._on.settings.worker_grace_s + GRACE_EXTRA_S)
        await worker.start()
        return asyncio.create_task(worker.supervise(restart_on=RESTARTED))

    async def _watch(self, looks: Looks, first: Progress) -> Progress:
        before = now = first
        while not now.reached(before.ends) or now is first:
            await asyncio.sleep(LOOK_SECONDS)
            before, now = now, await looks.look()
            self._report(now, before)
        return await self._ready(now)

    async def _ready(self, now: Progress) -> Progress:
        """Step 3; a part of the log stays what it is, to be looked at."""
        if self._one.state is State.BUILDING:
            if self._one.unit == TIMELINES:
                await self._begin_fan_out()
            await self._on.generations.ready(self._one)
        return now

    async def _begin_fan_out(self) -> None:
        settings, there = self._on.settings, self._there
        admin = Admin(settings.kafka_bootstrap, there.topics, settings.kafka_options)
        for topic in compose.UNITS[FAN_OUT](there).topics:
            ids = await admin.topic_ids([topic])
            await begin_fan_out(there, topic, await admin.end_offsets(topic), ids[topic])
        await hand_on_large(self._on, there)


async def begin_fan_out(there: Engines, topic: str, ends: Mapping[int, int], topic_id: str) -> None:
    """Has chunks be delivered from the end on.

    None of the generation's own is in the log yet, for none is appended before it is ready.
    """
    store, unit = there.store_of(FAN_OUT), there.keys(FAN_OUT).unit
    await begin_at(store, unit, topic, ends, topic_id)


async def hand_on_large(on: Engines, there: Engines) -> None:
    """Has a generation know the large accounts as large, as the one in service does by now.

    Who is large would be found out when he tweets.
    """
    known = Chunks(on.bus, on.store_of(TIMELINES), on.keys(TIMELINES))
    chunks = Chunks(there.bus, there.store_of(TIMELINES), there.keys(TIMELINES))
    for author in await known.large_authors():
        await chunks.enlarge(author)
