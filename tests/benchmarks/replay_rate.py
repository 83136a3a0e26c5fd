"""``replay_rate``: how fast each unit is rebuilt from the log, beside the same unit at its end.

``BENCH_EVENTS`` (default 100,000) events of the simulated population are encoded and laid out as
the log would hold them, in the partitions of ``schemas/topics.yaml``. For each unit, in this
process, in ``TURNS`` turns:

1. *replay*: into a new generation, decoding included, in slices as full as a worker's that has the
   whole log before it, partition after partition as a poll brings them;
2. *bare*: the rows that 1 wrote, by a loop over the driver and nothing else, into another: batches
   of ``BARE_BATCH_ROWS``, ``BARE_IN_FLIGHT`` of them under way;
3. *live*: the beginning of the same log into a third, in slices of ``LIVE_RECORDS``, which is what
   steady traffic comes in.

Rates are events a second, CPU that of this process (the driver's threads included, the engines'
not), which other load on the machine changes less. ``BENCH_UNITS`` names units, all by default;
``BENCH_PROFILE`` a file for the profile of 1. Tables are dropped at the end.

``python -m tests.benchmarks.replay_rate UNIT…`` replays until SIGTERM, for ``reads_during_replay``.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import os
import secrets
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import uvloop
from cassandra import ConsistencyLevel
from cassandra.query import BatchStatement, BatchType

from events.cassandra import answered
from events.codec import Codec
from events.partitioner import partition_of
from events.slices import Record, Slice
from events.types import key_of, topic_of
from infra import compose
from infra.compose import Engines
from infra.settings import load
from infra.simulate.clock import VirtualClock, virtual_ids
from infra.simulate.generator import Plan, Simulation
from infra.worker import collect_seldom
from projections.base import Unit
from projections.store import Store
from projections.unit import StoredUnit
from schemas import catalog
from streams.settings import WorkerSettings
from tests.benchmarks.harness import Figure

UNITS = ("accounts", "tweets", "timelines", "engagement", "collections")
EVENTS, USERS = 100_000, 800
LIVE_RECORDS = 20
LIVE_SHARE = 20
"""Live takes so much longer that this part of the log is enough."""

BARE_BATCH_ROWS = 64
BARE_IN_FLIGHT = 64
TWEETS_A_SECOND = 5_800
"""The brief's average."""

TURNS = 8
"""Parts of the log; replay, bare writing and live take turns, so that what else the machine does
meets them alike."""

Written = list[tuple[str, Sequence[Any]]]
Source = tuple[str, int]
Polled = tuple[Source, int, list[bytes]]
"""A slice: source, first offset, values."""


class Recording(Store):
    """A store that remembers what was written through it."""

    written: Written

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        self.written += rows
        await super().write(rows)


class Took:
    """What applying slices, or writing their rows, took in all."""

    def __init__(self) -> None:
        self._events = 0
        self._seconds = self._cpu_seconds = 0.0

    async def time(self, slices: Sequence[Polled], work: Awaitable[None]) -> None:
        """Awaits work that is about slices."""
        gc.collect()
        began, cpu = time.perf_counter(), time.process_time()
        await work
        self._seconds += time.perf_counter() - began
        self._cpu_seconds += time.process_time() - cpu
        self._events += sum(len(values) for _, _, values in slices)

    @property
    def rate(self) -> float:
        """Events a second."""
        return self._events / self._seconds

    @property
    def cpu_us(self) -> float:
        """CPU of an event."""
        return self._cpu_seconds / self._events * 1e6


def simulated(count: int, codec: Codec) -> dict[Source, list[bytes]]:
    """Returns the values of a log of so many events, by topic and partition."""
    clock = VirtualClock(int(time.time() * 1000) - 3_600_000, rate=1_000.0)
    plan = Plan(users=USERS, seed=secrets.randbits(31), day_seconds=30.0)
    log: dict[Source, list[bytes]] = {}
    for event in islice(Simulation(plan, clock, virtual_ids(clock)).events(), count):
        topic = topic_of(event)
        partition = partition_of(key_of(event), catalog.topic(topic).partitions.local)
        log.setdefault((topic, partition), []).append(codec.encode(event))
    return log


def polled(log: dict[Source, list[bytes]], most: int) -> list[Polled]:
    """Cuts a log into slices, in the order in which polls would bring them."""
    slices = [
        (at, source, values[at : at + most])
        for source, values in sorted(log.items())
        for at in range(0, len(values), most)
    ]
    return [(source, at, values) for at, source, values in sorted(slices, key=lambda s: s[:2])]


async def apply(unit: Unit, codec: Codec, slices: Sequence[Polled]) -> None:
    """Decodes and applies slices as a worker does: some at once, of a partition in order."""
    room = asyncio.Semaphore(WorkerSettings.slices_at_once_max)
    turns: defaultdict[Source, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def one(source: Source, at: int, values: list[bytes]) -> None:
        try:
            async with turns[source]:
                decoded = await codec.decode_batch(values, source[0])
                records = [
                    Record(at + n, 0, event) for n, event in enumerate(decoded.events) if event
                ]
                await unit.apply(Slice(*source, "bench", at, at + len(values), records))
        finally:
            room.release()

    async with asyncio.TaskGroup() as under_way:
        for piece in slices:
            await room.acquire()
            under_way.create_task(one(*piece))


def share(slices: Sequence[Polled], turn: int) -> Sequence[Polled]:
    """Returns the slices of one turn."""
    return slices[len(slices) * turn // TURNS : len(slices) * (turn + 1) // TURNS]


async def bare(store: Store, rows: Written) -> None:
    """Writes rows through the driver, in batches."""
    prepared = {cql: await store.prepare(cql) for cql in {cql for cql, _ in rows}}
    in_flight = asyncio.Semaphore(BARE_IN_FLIGHT)
    sent: list[asyncio.Task[None]] = []

    async def send(batch: BatchStatement) -> None:
        try:
            await answered(store._session.execute_async(batch))
        finally:
            in_flight.release()

    for at in range(0, len(rows), BARE_BATCH_ROWS):
        batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.QUORUM)
        for cql, values in rows[at : at + BARE_BATCH_ROWS]:
            batch.add(prepared[cql].bind(values))
        await in_flight.acquire()
        sent.append(asyncio.create_task(send(batch)))
    await asyncio.gather(*sent)


@asynccontextmanager
async def generation(on: Engines, name: str) -> AsyncIterator[tuple[Unit, Recording]]:
    """A unit in a new generation, and its store; both are gone at the end."""
    settings = on.settings.model_copy(update={"generation": f"b{secrets.token_hex(4)}"})
    store = Recording(on.session, settings.keyspace, settings.generation)
    store.written = []
    there = replace(on, settings=settings, store=store)
    unit = compose.UNITS[name](there)
    assert isinstance(unit, StoredUnit)
    await unit.open()
    try:
        yield unit, store
    finally:
        await unit.close()
        for table in (*unit.tables, "positions"):
            await store.execute(f"DROP TABLE IF EXISTS {{{table}}}")
        keys = there.keys(name)
        names = [keys.applied, *map(keys.positions, range(keys.buckets))]
        await on.bus.calls_strict([("UNLINK", key) for key in names])


async def run() -> list[Figure]:
    """Every unit, one after the other."""
    count = int(os.environ.get("BENCH_EVENTS", str(EVENTS)))
    units = os.environ.get("BENCH_UNITS", ",".join(UNITS)).split(",")
    settings = load().settings
    changes = {"topic_prefix": f"b{secrets.token_hex(4)}-"}
    figures: list[Figure] = []
    async with compose.engines(settings.model_copy(update=changes)) as on:
        codec = Codec(await on.registry.publish(), on.registry)
        log = simulated(count, codec)
        collect_seldom()
        for name in units:
            figures += await _unit(on, codec, name, log)
    return figures


async def _unit(
    on: Engines, codec: Codec, name: str, whole: dict[Source, list[bytes]]
) -> list[Figure]:
    full = compose.SLICE_RECORDS_MAX.get(name, WorkerSettings.slice_records_max)
    replay, live, raw = Took(), Took(), Took()
    async with (
        generation(on, name) as (unit, store),
        generation(on, name) as (other, _),
        generation(on, name) as (_, third),
    ):
        log = {source: values for source, values in whole.items() if source[0] in unit.topics}
        start = {source: values[: len(values) // LIVE_SHARE] for source, values in log.items()}
        for topic, partition in log:
            for one in (unit, other):
                await one.resume(topic, partition, "bench")
        slices, few = polled(log, full), polled(start, LIVE_RECORDS)
        profile = cProfile.Profile() if "BENCH_PROFILE" in os.environ else None
        for turn in range(TURNS):
            part, rows = share(slices, turn), len(store.written)
            if profile:
                profile.enable()
            await replay.time(part, apply(unit, codec, part))
            if profile:
                profile.disable()
            await raw.time(part, bare(third, store.written[rows:]))
            part = share(few, turn)
            await live.time(part, apply(other, codec, part))
        if profile:
            profile.dump_stats(f"{os.environ['BENCH_PROFILE']}.{name}")
    return [
        Figure(
            f"replay_rate {name}",
            replay.rate,
            "events/s",
            {"live": live.rate, "writing the rows": raw.rate, "tweets a second": TWEETS_A_SECOND},
        ),
        Figure(
            f"replay_rate {name}, CPU",
            replay.cpu_us,
            "µs/event",
            {"live": live.cpu_us, "writing the rows": raw.cpu_us},
        ),
    ]


async def _over_and_over(units: Sequence[str]) -> None:
    """Replays units in turn until SIGTERM; says ``replaying`` once it begins."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with compose.engines(load().settings) as on:
        codec = Codec(await on.registry.publish(), on.registry)
        whole = simulated(EVENTS, codec)
        collect_seldom()
        print("replaying", flush=True)
        while not stop.is_set():
            for name in units:
                async with generation(on, name) as (unit, _):
                    log = {at: values for at, values in whole.items() if at[0] in unit.topics}
                    for topic, partition in log:
                        await unit.resume(topic, partition, "bench")
                    for one in polled(log, WorkerSettings.slice_records_max):
                        if not stop.is_set():
                            await apply(unit, codec, [one])


if __name__ == "__main__":
    uvloop.run(_over_and_over(sys.argv[1:]))
