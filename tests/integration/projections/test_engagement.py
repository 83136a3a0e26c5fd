"""The engagement unit on the real engines, with everything that can go wrong in any order.

Hypothesis chooses a history and what happens while it is applied: slices of any length,
redelivery, a worker that dies between any two writes, one that goes on although it lost its
partitions, entries that Redis evicts, a Redis that comes back empty, and one that goes back in
time. Whatever happened, what readers see at the end is the oracle's. A failure prints the example,
the seed of the history among it.
"""

from __future__ import annotations

import logging
from random import Random
from secrets import randbits
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from events.slices import Record, Slice
from events.types import TweetPosted
from projections.base import RetryableError, StateLost, Unit
from projections.engagement.layout import COUNTS
from projections.engagement.read import EngagementReader
from tests.contracts.case import World
from tests.contracts.engagement_case import ColdEngagementCase, EngagementCase
from tests.contracts.history import TOPIC_ID, LogBuilder
from tests.contracts.test_units import FailingStore
from tests.oracle import LogRecord

pytestmark = pytest.mark.engines

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.integers(0, 5), st.integers(1, 40)),
        st.tuples(st.just("apply"), st.integers(0, 5), st.integers(1, 8)),
        st.tuples(st.just("die"), st.integers(0, 5), st.integers(0, 9)),
        st.tuples(st.just("late"), st.integers(0, 5), st.integers(1, 20)),
        st.tuples(
            st.sampled_from(
                ("again", "restart", "read", "evict", "evict likers", "empty", "save", "go back")
            ),
            st.integers(0, 9),
            st.just(0),
        ),
    ),
    min_size=8,
    max_size=40,
)
SUFFIXES = (b"", b":lease", b":sources", b":likers")


class Worker:
    """A unit and how far it has read; ``late`` ones are those whose partitions went elsewhere."""

    def __init__(self, unit: Unit, history: list[LogRecord]) -> None:
        self.unit = unit
        self.next: dict[tuple[str, int], int] = {}
        self._history = history

    async def start(self) -> None:
        await self.unit.open()
        for topic, partition in sorted({(r.topic, r.partition) for r in self._history}):
            self.next[topic, partition] = await self.unit.resume(topic, partition, TOPIC_ID) or 0

    def cut(self, which: int, longest: int) -> Slice:
        """Returns the next slice of some partition that has one, or an empty one."""
        sources = [s for s in self.next if self._left(s)] or list(self.next)
        source = sources[which % len(sources)]
        records = self._left(source)[:longest]
        start = self.next[source]
        end = records[-1].offset + 1 if records else start
        found = [Record(record.offset, 0, record.event) for record in records]
        return Slice(*source, TOPIC_ID, start, end, found)

    async def apply(self, piece: Slice) -> None:
        await self.unit.apply(piece)
        self.next[piece.topic, piece.partition] = piece.end

    def done(self) -> bool:
        return not any(self._left(source) for source in self.next)

    def _left(self, source: tuple[str, int]) -> list[LogRecord]:
        at = self.next[source]
        return [r for r in self._history if (r.topic, r.partition) == source and r.offset >= at]


class Chaos:
    """Runs one example."""

    def __init__(self, case: EngagementCase, world: World, seed: int) -> None:
        self.case = case
        self.world = world
        rng = Random(seed)
        log = LogBuilder(rng, randbits(30) & ~0xFF)
        case.write(log, rng, (randbits(40) | 1 << 40) << 20)
        self.history = log.records
        self.keys = world.keys(case.name)
        events: list[Any] = [record.event for record in self.history]
        parents = {p for e in events if isinstance(e, TweetPosted) for p in _parents(e)}
        self.tweets = sorted({event.tweet_id for event in events} | parents)
        self.sources = sorted({f"{r.topic}/{r.partition}" for r in self.history})
        self.saved: tuple[dict[bytes, bytes], list[Any]] | None = None
        self.late: Worker | None = None
        self.last: Slice | None = None

    async def worker(self, world: World | None = None) -> Worker:
        made = Worker(self.case.unit(world or self.world), self.history)
        await made.start()
        return made

    async def run(self, steps: list[tuple[str, int, int]]) -> None:
        worker = await self.worker()
        for name, which, number in steps:
            logging.info("%s %d %d", name, which, number)
            try:
                worker = await self.step(worker, name, which, number)
            except StateLost:
                worker = await self.worker()
        for _ in range(3):
            worker = await self.worker()
            while not worker.done():
                await worker.apply(worker.cut(0, 25))
            await worker.unit.heartbeat()
        assert await self.case.seen(self.world, self.history) == self.case.expected(self.history)

    async def step(self, worker: Worker, name: str, which: int, number: int) -> Worker:
        match name:
            case "apply":
                self.last = worker.cut(which, number)
                await worker.apply(self.last)
            case "again" if self.last is not None:
                await worker.unit.apply(self.last)
            case "die":
                await self.die(worker.cut(which, 12), number)
                return await self.worker()
            case "restart":  # the old one is late from here on
                self.late = worker
                return await self.worker()
            case "late" if self.late is not None:
                try:
                    await self.late.apply(self.late.cut(which, number))
                    await self.late.unit.heartbeat()
                except StateLost:
                    self.late = None
            case _:
                await self.harm(name, which)
        return worker

    async def die(self, piece: Slice, calls: int) -> None:
        failing = FailingStore(self.world.store, calls)
        unit = self.case.unit(self.world.with_store(failing))
        await unit.open()
        await unit.resume(piece.topic, piece.partition, TOPIC_ID)
        failing.armed = True
        try:
            await unit.apply(piece)
        except (RetryableError, StateLost):
            return

    async def harm(self, name: str, which: int) -> None:
        reader = EngagementReader(self.world.bus, self.world.store, self.keys)
        tweet = self.keys.of(COUNTS, self.tweets[which % len(self.tweets)])
        match name:
            case "read":
                await reader.counts(self.tweets)
            case "evict":
                if await self.world.bus.call("PTTL", tweet) > 0:  # state has no expiry
                    await self.world.bus.call("DEL", tweet)
            case "evict likers":
                await self.world.bus.call("DEL", tweet + b":likers")
            case "empty":
                await self.restore({}, [])
            case "save":
                self.saved = await self.snapshot()
            case "go back" if self.saved is not None:
                await self.restore(*self.saved)

    def names(self) -> list[bytes]:
        return [self.keys.of(COUNTS, tweet) + end for tweet in self.tweets for end in SUFFIXES]

    async def snapshot(self) -> tuple[dict[bytes, bytes], list[Any]]:
        names = self.names()
        dumps = await self.world.bus.calls_strict([("DUMP", name) for name in names])
        positions = await self.world.bus.calls_strict(
            [("HMGET", self.keys.positions(b), *self.sources) for b in range(self.keys.buckets)]
        )
        held = {n: d for n, d in zip(names, dumps, strict=True) if d is not None}
        return held, positions

    async def restore(self, held: dict[bytes, bytes], positions: list[Any]) -> None:
        """Redis as it was at a snapshot; that of nothing is an empty one."""
        bus = self.world.bus
        await bus.calls_strict([("DEL", name) for name in self.names()])
        await bus.calls_strict([("RESTORE", n, 86_400_000, d) for n, d in held.items()])
        for bucket in range(self.keys.buckets):
            name = self.keys.positions(bucket)
            await bus.call("HDEL", name, *self.sources)
            for source, at in zip(
                self.sources, positions[bucket] if positions else (), strict=False
            ):
                if at is not None:
                    await bus.call("HSET", name, source, at)


def _parents(event: TweetPosted) -> list[int]:
    return [p for p in (event.reply_to_id, event.retweet_of_id, event.quote_of_id) if p]


@settings(
    max_examples=15,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking on engines takes too long
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32), cold=st.booleans(), steps=STEPS)
@example(  # children were applied, and Redis then was as before it had heard of their partitions
    seed=1446,
    cold=False,
    steps=[
        *[("apply", 0, 1000)] * 3,  # all of engagements
        ("save", 0, 0),
        *[("apply", 0, 1000)] * 3,  # all of new-tweets
        ("go back", 0, 0),
    ],
)
async def test_whatever_happens_what_readers_see_is_the_oracles(
    world: World, seed: int, cold: bool, steps: list[tuple[str, int, int]]
) -> None:
    case = ColdEngagementCase() if cold else EngagementCase()
    await Chaos(case, world, seed).run(steps)
