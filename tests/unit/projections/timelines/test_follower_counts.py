"""The number of followers of a large account, read between any two commands of who changes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import cast
from unittest import mock

import pytest

from events.slices import Record
from events.types import UserFollowed
from projections.bus import Command, RedisBus, Reply
from projections.keys import Keys
from projections.timelines import chunks
from projections.timelines.graph import Graph
from projections.timelines.layout import TABLES
from tests.memory.bus import MemoryBus
from tests.memory.redis import Redis
from tests.memory.store import Database, MemoryStore

AUTHOR = 1000
KEYS = Keys("g1", "timelines", 3)


class Shared(MemoryBus):
    """Others are served between any two commands of a pipeline, as by a server."""

    def __init__(self, redis: Redis, meanwhile: Callable[[Command], Awaitable[object]]) -> None:
        super().__init__(redis)
        self._meanwhile = meanwhile

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        replies: list[Reply] = []
        for command in commands:
            await self._meanwhile(command)
            replies += await super().calls([command])
        return replies


class Held(MemoryBus):
    """A reader that is held up before its last command, by which it fills."""

    def __init__(self, redis: Redis, meanwhile: Callable[[Command], Awaitable[object]]) -> None:
        super().__init__(redis)
        self._meanwhile = meanwhile

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        for command in commands:
            if command[0] == "MGET" and b"follower_chunk_count" in cast(bytes, command[1]):
                await self._meanwhile(command)
        return await super().calls(commands)


def follow(follower: int) -> Record:
    event = UserFollowed(event_id=follower, occurred_at=1, user_id=follower, target_user_id=AUTHOR)
    return Record(follower, 0, event)


@pytest.fixture
async def redis_and_store() -> tuple[Redis, MemoryStore]:
    store = MemoryStore(Database(), "g1")
    for name, ddl in TABLES.items():
        await store.create(name, ddl)
    return Redis(), store


def graph(bus: RedisBus, store: MemoryStore) -> Graph:
    return Graph(bus, store, KEYS)


async def warm(reader: Graph) -> None:
    """Has what chunks hold cached."""
    await reader.chunks.sizes(await reader.chunks.cuts([AUTHOR]))


async def test_a_follow_is_counted_whoever_reads_meanwhile(
    redis_and_store: tuple[Redis, MemoryStore],
) -> None:
    redis, store = redis_and_store
    reader = graph(MemoryBus(redis), store)
    writer = graph(Shared(redis, lambda _: reader.counts([AUTHOR])), store)
    await writer.record([follow(1)])
    await writer.chunks.enlarge(AUTHOR)
    for follower in range(2, 6):
        await warm(reader)
        await writer.record([follow(follower)])
        assert await reader.counts([AUTHOR]) == {AUTHOR: (follower, 0)}


async def test_a_cut_is_not_counted_by_half_by_who_began_before_it(
    redis_and_store: tuple[Redis, MemoryStore],
) -> None:
    redis, store = redis_and_store
    writer = graph(MemoryBus(redis), store)
    await writer.record([follow(follower) for follower in range(1, 6)])
    await writer.chunks.enlarge(AUTHOR)

    async def cut(_before: Command) -> None:
        await writer.chunks.cut(AUTHOR, 0, chunks.END)

    with (
        mock.patch.object(chunks, "CHUNK_FOLLOWERS", 1),
        mock.patch.object(chunks, "CHUNK_FOLLOWERS_MAX", 2),
    ):
        await graph(Held(redis, cut), store).counts([AUTHOR])
        assert await writer.counts([AUTHOR]) == {AUTHOR: (5, 0)}


async def test_a_cut_is_not_counted_twice_by_who_reads_meanwhile(
    redis_and_store: tuple[Redis, MemoryStore],
) -> None:
    redis, store = redis_and_store
    reader = graph(MemoryBus(redis), store)
    evicted = reader.follower_count.key(AUTHOR)

    async def read(before: Command) -> None:
        if before[0] == "DEL" and b"follower_chunk_count" in cast(bytes, before[1]):
            redis.run(("DEL", evicted))
        await reader.counts([AUTHOR])

    writer = graph(Shared(redis, read), store)
    await writer.record([follow(follower) for follower in range(1, 6)])
    await writer.chunks.enlarge(AUTHOR)
    await warm(reader)
    with (
        mock.patch.object(chunks, "CHUNK_FOLLOWERS", 1),
        mock.patch.object(chunks, "CHUNK_FOLLOWERS_MAX", 2),
    ):
        await writer.chunks.cut(AUTHOR, 0, chunks.END)
        assert await reader.counts([AUTHOR]) == {AUTHOR: (5, 0)}
