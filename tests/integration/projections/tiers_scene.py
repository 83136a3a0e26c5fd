"""A town in which authors change tier: both workers of the timelines unit, a keeper and readers.

The log is in memory, so that a chunk can wait for as long as the seed likes; state is in Valkey and
Cassandra.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from random import Random
from secrets import randbits
from typing import Any

from events.slices import Record, Slice
from events.types import Event, UserFollowed
from gateway.queries.home import HomeTimelines
from projections.positions import AppliedPositions
from projections.timelines.fan_out import FanOut
from projections.timelines.keeper import Keeper, KeeperSettings
from projections.timelines.layout import HOME
from projections.timelines.read import TimelinesReader
from projections.timelines.tiers import State, Tiers
from projections.timelines.unit import Timelines
from tests.contracts.case import World
from tests.contracts.history import TOPIC_ID
from tests.contracts.timelines_case import (
    HistoryTweet,
    HistoryTweets,
    HistoryUsers,
    read_home,
    registered,
)
from tests.oracle import LogRecord, Oracle
from tests.posts import post

FANS = 14
POPULAR_FROM = 4
LENGTH = 25
ROUNDS = 120
SECONDS_MAX = 60.0


class MemoryLog:
    """A log of one partition per topic, new for each test, and what a worker has taken of it."""

    def __init__(self) -> None:
        self.partition = randbits(31)
        self.records: dict[str, list[Event]] = {}
        self.taken: dict[str, int] = {}
        self.history: list[LogRecord] = []

    def write(self, topic: str, *events: Event) -> None:
        held = self.records.setdefault(topic, [])
        for event in events:
            if topic != "fan-out":  # derived
                self.history.append(LogRecord(topic, self.partition, len(held), event))
            held.append(event)

    def take(self, topic: str, most: int) -> Slice | None:
        """Returns the next slice; :meth:`done` makes it taken."""
        start = self.taken.get(topic, 0)
        events = self.records.get(topic, [])[start : start + most]
        if not events:
            return None
        records = [Record(start + at, 0, event) for at, event in enumerate(events)]
        return Slice(topic, self.partition, TOPIC_ID, start, start + len(events), records)

    def done(self, piece: Slice) -> None:
        self.taken[piece.topic] = piece.end

    def empty(self, topic: str) -> bool:
        return self.taken.get(topic, 0) == len(self.records.get(topic, []))

    async def append(self, chunks: Sequence[Event]) -> None:
        self.write("fan-out", *chunks)

    async def close(self) -> None: ...

    async def ends(self, topic: str) -> dict[str, int]:
        return {f"{topic}/{self.partition}": len(self.records.get(topic, []))}


class Scene:
    """Both workers of the unit, a keeper and readers, over one log."""

    def __init__(self, world: World) -> None:
        self.log = MemoryLog()
        self.world = world
        self.base = (randbits(40) | 1 << 40) << 20
        self.ids = count(self.base + 10_000)
        self.star, self.other = self.base, self.base + 1
        self.fans = [self.base + 10 + number for number in range(FANS)]
        # Tiers are kept by unit: this scene's are not those of another test.
        scope = f"{self.base}-"
        self.keys, self.fan_out_keys = (
            world.keys(f"{scope}timelines"),
            world.keys(f"{scope}fan-out"),
        )
        self.reader = TimelinesReader(
            world.bus, world.store, self.keys, timeline_length=LENGTH, inactive_days=1
        )
        self.timelines = Timelines(
            world.bus,
            world.store,
            self.keys,
            chunk_log=self.log,
            popular_threshold=POPULAR_FROM,
            timeline_length=LENGTH,
            inactive_days=1,
        )
        self.fan_out = self.deliverer()
        self.keeper = Keeper(
            world.bus,
            world.store,
            self.keys,
            reader=self.reader,
            chunk_log=self.log,
            flow=self.log,
            timelines=AppliedPositions(world.bus, world.store, self.keys),
            fan_out=AppliedPositions(world.bus, world.store, self.fan_out_keys),
            settings=KeeperSettings(
                celebrity_threshold=10, popular_threshold=POPULAR_FROM, read_seconds_max=0.05
            ),
        )
        self.tiers = Tiers(world.bus, world.store, self.keys)

    def deliverer(self) -> FanOut:
        world = self.world
        return FanOut(
            world.bus,
            world.store,
            self.fan_out_keys,
            timelines=self.keys,
            chunk_log=self.log,
            timeline_length=LENGTH,
        )

    async def open(self) -> None:
        await self.timelines.open()
        await self.fan_out.open()

    async def work(self, topic: str, most: int = 1_000) -> bool:
        """Applies the next slice of a topic; False when there is none."""
        piece = self.log.take(topic, most)
        if piece is None:
            return False
        await (self.fan_out if topic == "fan-out" else self.timelines).apply(piece)
        self.log.done(piece)
        return True

    async def drain(self) -> None:
        for topic in ("social-graph", "new-tweets", "fan-out"):
            while await self.work(topic):
                pass

    def tweet(self, author: int) -> int:
        tweet_id = next(self.ids)
        self.log.write("new-tweets", post(tweet_id, author))
        return tweet_id

    def follow(self, follower: int, followee: int, kind: type[Event] = UserFollowed) -> None:
        event_id = next(self.ids)
        values = {"user_id": follower, "target_user_id": followee}
        self.log.write("social-graph", kind(event_id=event_id, occurred_at=1, **values))

    async def home(self, user: int) -> list[int]:
        tweets, users = HistoryTweets(self.log.history), HistoryUsers(self.log.history)
        homes: HomeTimelines[HistoryTweet, bool] = HomeTimelines(self.reader, tweets, users)
        return await read_home(homes, user, 10)

    def oracle(self) -> Oracle:
        oracle = Oracle(self.log.history)
        for offset, user in enumerate(sorted(HistoryUsers(self.log.history).ids)):
            oracle.feed(LogRecord("users", 0, offset, registered(user)))
        return oracle

    async def state_of(self, author: int) -> State | None:
        return {row.author_id: row.state for row in await self.tiers.rows()}.get(author)

    async def until_delivered(self, busy: asyncio.Task[None]) -> None:
        """Delivers chunks until a task is done, as the other worker would."""
        async with asyncio.timeout(SECONDS_MAX):
            while not busy.done():
                await self.work("new-tweets")
                await self.work("fan-out", 2)
                await asyncio.sleep(0)
        await busy


async def every_home_is_the_oracles(scene: Scene) -> None:
    """Compares all that readers see at lag zero."""
    oracle = scene.oracle()
    for user in [scene.star, scene.other, *scene.fans]:
        assert await scene.home(user) == oracle.home(user)
        counts = (await scene.reader.graph.counts([user]))[user]
        assert counts == (oracle.followers_count(user), oracle.following_count(user))


async def nobody_loses_what_he_saw(
    scene: Scene,
    rng: Random,
    act: Callable[[int], None],
    change: Callable[[], Coroutine[Any, Any, None]],
    *,
    lost: float = 0.0,
) -> None:
    """Readers look while people act and something changes; then every home is the oracle's.

    Args:
        scene: The town.
        rng: Decides how slices are cut, who looks, and when.
        act: Appends what happens in one round; given one of the readers.
        change: What is done meanwhile; workers and readers go on until it is done.
        lost: Share of the looks before which the cached timeline is lost.
    """
    readers = scene.fans[:4]
    seen: dict[int, set[int]] = {reader: set() for reader in readers}
    changing: asyncio.Task[None]

    async def traffic() -> None:
        for _ in range(ROUNDS):
            act(readers[0])
            await scene.work("social-graph", rng.randint(1, 3))
            await scene.work("new-tweets", rng.randint(1, 4))
            if rng.random() < 0.5:
                await scene.work("fan-out", rng.randint(1, 3))
            await asyncio.sleep(0)
        while not changing.done() or not all(map(scene.log.empty, scene.log.records)):
            await scene.drain()
            await asyncio.sleep(0)

    async def look() -> None:
        while not changing.done():
            reader = rng.choice(readers)
            if rng.random() < lost:  # rebuilt by the next read
                await scene.world.bus.call("DEL", scene.keys.of(HOME, reader))
            before = set(seen[reader])  # another look may learn more meanwhile
            found = await scene.home(reader)
            assert found == sorted(set(found), reverse=True)
            gone = before - set(found)
            assert not gone, (await scene.state_of(scene.star), sorted(gone))
            seen[reader] |= set(found)

    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        for task in (traffic(), look(), look()):
            group.create_task(task)
    assert all(seen.values())
    await every_home_is_the_oracles(scene)
