"""The contract that every unit of projection keeps, on the real engines and on those in memory.

Whatever way the records of the log reach a unit, its readers see the same, and what they see is
what the specification says: redelivered, cut differently, interrupted, written late by a worker
that lost its partitions, or replayed into another generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from secrets import randbits
from typing import Any

import pytest

from events.slices import Slice
from projections.base import RetryableError, Unit
from projections.store import Row, Store
from tests.contracts.accounts_case import AccountsCase
from tests.contracts.case import UnitCase, World
from tests.contracts.collections_case import CollectionsCase
from tests.contracts.engagement_case import ColdEngagementCase, EngagementCase
from tests.contracts.history import TOPIC_ID, LogBuilder, redriven, slices
from tests.contracts.notifications_case import NotificationsCase
from tests.contracts.search_case import SearchCase
from tests.contracts.timelines_case import TimelinesCase
from tests.contracts.trends_case import TrendsCase
from tests.contracts.tweets_case import TweetsCase
from tests.oracle import LogRecord

CASES: tuple[UnitCase, ...] = (
    AccountsCase(),
    TweetsCase(),
    TimelinesCase(),
    EngagementCase(),
    ColdEngagementCase(),
    CollectionsCase(),
    SearchCase(),
    NotificationsCase(),
    TrendsCase(),
)
SEEDS = (1, 2, 3)
LOOKS = 4
"""How often readers look while a history is applied: a look at timelines costs seconds."""

CALLS_MAX = 30
"""More calls to the store than any of the slices here takes; ends the test of interruptions."""

pytestmark = [
    pytest.mark.parametrize("case", CASES, ids=lambda case: case.name),
    pytest.mark.parametrize("seed", SEEDS),
]


def history_of(case: UnitCase, seed: int) -> list[LogRecord]:
    """Returns the same history for a seed but for its ids and partitions, which are fresh."""
    rng = Random(seed)
    log = LogBuilder(rng, randbits(30) & ~0xFF)
    case.write(log, rng, (randbits(40) | 1 << 40) << 20)
    return log.records


def looked_after(pieces: Sequence[Slice]) -> Iterator[tuple[Slice, bool]]:
    """Yields slices in order, and whether readers look after each; they do after the last."""
    step = max(1, len(pieces) // LOOKS)
    for at, piece in enumerate(pieces):
        yield piece, at % step == step // 2 or at == len(pieces) - 1


async def opened(case: UnitCase, world: World) -> Unit:
    """Returns a new worker's unit."""
    unit = case.unit(world)
    await unit.open()
    return unit


async def test_what_readers_see_is_what_the_specification_says(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    unit = await opened(case, world)
    for piece, look in looked_after(slices(history, Random(seed), longest=7)):
        await unit.apply(piece)
        if look:
            await case.seen(world, history)  # caches hold something older from here on
    assert await case.seen(world, history) == case.expected(history)


async def test_redelivery_and_other_cuts_change_nothing(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    unit = await opened(case, world)
    for piece in slices(history, Random(seed), longest=5):
        await unit.apply(piece)
        if seed % 2:
            await unit.apply(piece)
    assert await case.seen(world, history) == case.expected(history)
    for longest in (1, 1000):
        again = await opened(case, world)
        for piece in slices(history, Random(seed + longest), longest):
            await again.apply(piece)
        assert await case.seen(world, history) == case.expected(history)


async def test_a_zombie_changes_nothing(case: UnitCase, seed: int, world: World) -> None:
    history = history_of(case, seed)
    pieces = slices(history, Random(seed), longest=6)
    half = len(pieces) // 2
    zombie, live = await opened(case, world), await opened(case, world)
    for piece in pieces[:half]:
        await zombie.apply(piece)
    for piece in pieces[half:]:
        await live.apply(piece)
    await case.seen(world, history)
    expected = case.expected(history)
    for piece, look in looked_after(pieces[half:-1]):  # it wakes up and goes on
        await zombie.apply(piece)
        await zombie.heartbeat()
        if look:
            assert await case.seen(world, history) == expected
    await live.heartbeat()  # carries its positions to the buckets that the zombie has written
    fresh = await opened(case, world)
    ends = {(piece.topic, piece.partition): piece.end for piece in pieces}
    for (topic, partition), end in ends.items():
        assert await fresh.resume(topic, partition, TOPIC_ID) == end


async def test_a_zombie_is_harmless_where_redis_came_back_empty(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    pieces = slices(history, Random(seed), longest=6)
    live, zombie = await opened(case, world), await opened(case, world)
    for piece in pieces:
        await live.apply(piece)
    await forget_positions(world, case.name, pieces)
    expected = case.expected(history)
    for piece, look in looked_after(pieces[: len(pieces) // 2]):
        await zombie.apply(piece)
        if look:
            assert await case.seen(world, history) == expected


async def test_an_interrupted_slice_is_applied_once_in_effect(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    for piece in slices(history, Random(seed), longest=30):
        for calls in range(CALLS_MAX):
            failing = FailingStore(world.store, calls)
            unit = await opened(case, world.with_store(failing))
            failing.armed = True
            try:
                await unit.apply(piece)
            except RetryableError:
                continue
            break
        else:
            pytest.fail("never came through")
    assert await case.seen(world, history) == case.expected(history)


async def test_replay_into_another_generation_equals_live(
    case: UnitCase, seed: int, world: World, other_generation: World
) -> None:
    history = history_of(case, seed)
    live, replayed = await opened(case, world), await opened(case, other_generation)
    for piece in slices(history, Random(seed), longest=4):
        await live.apply(piece)
    for piece in slices(history, Random(seed + 1), longest=1000):
        await replayed.apply(piece)
    seen = await case.seen(world, history)
    assert seen == await case.seen(other_generation, history) == case.expected(history)


async def test_a_redriven_record_has_the_effect_of_its_place(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    rng = Random(seed)
    unit = await opened(case, world)
    for piece, look in looked_after(redriven(history, Random(randbits(32)))):
        await unit.apply(piece)
        if rng.random() < 0.3:
            await (await opened(case, world)).apply(piece)  # the worker died before it said so
        if look:
            await case.seen(world, history)
    assert await case.seen(world, history) == case.expected(history)


async def test_a_redrive_beside_the_worker_of_its_partition(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    pieces = redriven(history, Random(seed))

    async def work(mine: list[Slice]) -> None:
        unit = await opened(case, world)
        for piece in mine:
            await unit.apply(piece)
            await unit.heartbeat()

    others = [piece for piece in pieces if piece.origin is None]
    sent = [piece for piece in pieces if piece.origin is not None]
    await asyncio.gather(work(others), work(sent))
    assert await case.seen(world, history) == case.expected(history)


async def test_a_redrive_that_is_interrupted_has_one_effect(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    unit = await opened(case, world)
    for piece in redriven(history, Random(seed)):
        if piece.origin is None:
            await unit.apply(piece)
            continue
        for calls in range(CALLS_MAX):
            failing = FailingStore(world.store, calls)
            other = await opened(case, world.with_store(failing))
            failing.armed = True
            try:
                await other.apply(piece)
            except RetryableError:
                continue
            break
        else:
            pytest.fail("never came through")
    assert await case.seen(world, history) == case.expected(history)


async def test_state_is_bounded_by_what_it_is_about(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    unit = await opened(case, world)
    sizes = set()
    for _ in range(3):
        for piece in slices(history, Random(seed), longest=9):
            await unit.apply(piece)
        sizes.add(await case.size(world, history))
    (size,) = sizes
    assert 0 < size <= case.size_max(history)


async def test_a_worker_resumes_where_the_last_one_ended(
    case: UnitCase, seed: int, world: World
) -> None:
    history = history_of(case, seed)
    pieces = slices(history, Random(seed), longest=6)
    first = await opened(case, world)
    topic, partition = pieces[0].topic, pieces[0].partition
    assert await first.resume(topic, partition, TOPIC_ID) is None
    for piece in pieces:
        await first.apply(piece)
    await first.heartbeat()
    second = await opened(case, world)
    for source in {(piece.topic, piece.partition) for piece in pieces}:
        end = max(piece.end for piece in pieces if (piece.topic, piece.partition) == source)
        assert await second.resume(*source, TOPIC_ID) == end


async def forget_positions(world: World, unit: str, pieces: Sequence[Slice]) -> None:
    """Drops the buckets' positions of these slices' partitions, as an emptied Redis would."""
    keys = world.keys(unit)
    sources = {piece.source for piece in pieces}
    await world.bus.calls_strict(
        [("HDEL", keys.positions(bucket), *sources) for bucket in range(keys.buckets)]
    )


class FailingStore(Store):
    """A store that fails its n-th call once armed, half of a write done."""

    def __init__(self, inner: Store, calls: int) -> None:
        self._inner = inner
        self.generation = inner.generation
        self._left = calls
        self.armed = False

    def _fails(self) -> bool:
        if not self.armed:
            return False
        self._left -= 1
        return self._left < 0

    async def create(self, name: str, ddl: str) -> None:
        await self._inner.create(name, ddl)

    async def add_columns(self, name: str, columns: Mapping[str, str]) -> None:
        await self._inner.add_columns(name, columns)

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        if self._fails():
            raise RetryableError("cut off")
        return await self._inner.execute(cql, values)

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        if self._fails():
            await self._inner.write(rows[: len(rows) // 2])
            raise RetryableError("cut off half way")
        await self._inner.write(rows)
