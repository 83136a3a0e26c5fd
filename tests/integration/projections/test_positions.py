"""Applied positions on the real engines: what a bucket that lost them is taken for."""

from __future__ import annotations

import secrets

import pytest

from events.slices import Slice
from projections.base import StateLost
from projections.keys import Keys
from projections.positions import Positions
from tests.contracts.case import World

pytestmark = pytest.mark.engines

TOPIC, TOPIC_ID = "numbers", "positions"
EVERYWHERE = {0: (), 1: ()}
"""No effect, in both buckets."""


def piece(partition: int, start: int, end: int) -> Slice:
    return Slice(TOPIC, partition, TOPIC_ID, start, end, [])


@pytest.fixture
def keys(world: World) -> Keys:
    """Of a unit that nobody else knows, so that its buckets can be emptied."""
    return Keys(world.store.generation, f"positions-{secrets.token_hex(6)}", len(EVERYWHERE))


async def resumed(world: World, keys: Keys) -> tuple[Positions, list[int | None]]:
    """Returns what a new worker of two partitions has, and where it begins."""
    positions = Positions(world.bus, world.store, keys)
    await positions.open()
    return positions, [await positions.resume(TOPIC, partition, TOPIC_ID) for partition in (0, 1)]


async def lose(world: World, keys: Keys, *sources: str) -> None:
    """Redis as it was before it heard of these partitions."""
    await world.bus.calls_strict([("HDEL", keys.positions(b), *sources) for b in EVERYWHERE])


async def test_no_partition_is_alone_in_an_emptied_bucket(world: World, keys: Keys) -> None:
    """Not even one that has applied nothing: the others would be taken for never applied."""
    live, _ = await resumed(world, keys)
    await live.commit(piece(1, 0, 20), EVERYWHERE)
    await lose(world, keys, f"{TOPIC}/0", f"{TOPIC}/1")
    with pytest.raises(StateLost):
        await live.commit(piece(0, 0, 0), EVERYWHERE)
    with pytest.raises(StateLost):
        await live.heartbeat()
    _, starts = await resumed(world, keys)
    assert starts == [None, 20]


async def test_an_emptied_redis_begins_at_the_positions_of_the_store(
    world: World, keys: Keys
) -> None:
    live, _ = await resumed(world, keys)
    await live.commit(piece(0, 0, 10), EVERYWHERE)
    await live.commit(piece(1, 0, 20), EVERYWHERE)
    await lose(world, keys, f"{TOPIC}/0", f"{TOPIC}/1")
    with pytest.raises(StateLost):  # else this partition alone would be in the bucket
        await live.commit(piece(0, 10, 12), EVERYWHERE)
    with pytest.raises(StateLost):
        await live.heartbeat()
    _, starts = await resumed(world, keys)
    assert starts == [10, 20]


async def test_a_bucket_that_knows_others_only_is_filled_from_the_start(
    world: World, keys: Keys
) -> None:
    live, starts = await resumed(world, keys)
    assert starts == [None, None]
    await live.commit(piece(0, 0, 10), EVERYWHERE)
    await live.commit(piece(1, 0, 20), EVERYWHERE)
    await lose(world, keys, f"{TOPIC}/1")
    _, starts = await resumed(world, keys)
    assert starts == [10, 0]


async def test_a_partition_begins_in_every_bucket_before_it_is_applied(
    world: World, keys: Keys
) -> None:
    first, _ = await resumed(world, keys)
    await first.commit(piece(0, 0, 10), {0: ()})  # and ends before its heartbeat
    _, starts = await resumed(world, keys)
    assert starts == [0, None]
    held = await world.bus.calls_strict([("HGETALL", keys.positions(b)) for b in EVERYWHERE])
    assert all(len(bucket) == 4 for bucket in held)
