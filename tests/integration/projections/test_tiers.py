"""Tiers and chunks on the real engines: nobody loses or misses a tweet while they change.

The log is in memory, so that a chunk can wait for as long as the seed likes; state is in Valkey and
Cassandra. Authors are promoted and demoted over and over while tweets are posted, follows come and
go, chunks are delivered late, and readers look: what a reader has seen once he sees ever after, and
at the end every timeline is the oracle's.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from itertools import count
from random import Random
from secrets import randbits

import pytest

from events.slices import Record, Slice
from events.types import (
    Event,
    TimelineOpened,
    TweetDeleted,
    UserFollowed,
    UserUnfollowed,
)
from gateway.queries.home import HomeTimelines
from projections.positions import AppliedPositions
from projections.timelines import chunks as chunks_module
from projections.timelines.authors import NEWEST
from projections.timelines.chunks import END, Chunks
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

pytestmark = pytest.mark.engines

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


@pytest.fixture
async def scene(world: World) -> Scene:
    scene = Scene(world)
    await scene.open()
    for fan in scene.fans:
        scene.follow(fan, scene.star)
        scene.follow(fan, scene.other)
    await scene.drain()
    return scene


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_reader_loses_a_tweet_while_tiers_change(scene: Scene, seed: int) -> None:
    rng = Random(seed)
    readers = scene.fans[:4]
    seen: dict[int, set[int]] = {reader: set() for reader in readers}
    changing = True

    async def traffic() -> None:
        for _ in range(ROUNDS):
            scene.tweet(rng.choice((scene.star, scene.star, scene.other, readers[0])))
            if rng.random() < 0.1:
                scene.follow(rng.choice(scene.fans[4:]), scene.star, UserUnfollowed)
            if rng.random() < 0.1:
                scene.follow(rng.choice(scene.fans[4:]), scene.star)
            await scene.work("social-graph", rng.randint(1, 3))
            await scene.work("new-tweets", rng.randint(1, 4))
            if rng.random() < 0.5:
                await scene.work("fan-out", rng.randint(1, 3))
            await asyncio.sleep(0)
        while changing or not all(map(scene.log.empty, scene.log.records)):
            await scene.drain()
            await asyncio.sleep(0)

    async def look() -> None:
        while changing:
            reader = rng.choice(readers)
            if rng.random() < 0.05:  # lost: rebuilt by the next read
                key = scene.keys.of(HOME, reader)
                await scene.world.bus.call("DEL", key)
            before = set(seen[reader])  # another look may learn more meanwhile
            found = await scene.home(reader)
            assert found == sorted(set(found), reverse=True)
            lost = before - set(found)
            assert not lost, (await scene.state_of(scene.star), sorted(lost))
            seen[reader] |= set(found)

    async def change() -> None:
        nonlocal changing
        for _ in range(3):
            await scene.keeper.promote([scene.star])
            assert await scene.state_of(scene.star) is State.CELEBRITY
            await asyncio.sleep(rng.random() * 0.2)
            await scene.keeper.demote([scene.star])
            assert await scene.state_of(scene.star) is None
            await asyncio.sleep(rng.random() * 0.2)
        changing = False

    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as group:
        for task in (traffic(), look(), look(), change()):
            group.create_task(task)
    assert all(seen.values())
    await _every_home_is_the_oracles(scene)


async def _every_home_is_the_oracles(scene: Scene) -> None:
    oracle = scene.oracle()
    for user in [scene.star, scene.other, *scene.fans]:
        assert await scene.home(user) == oracle.home(user)
        counts = (await scene.reader.graph.counts([user]))[user]
        assert counts == (oracle.followers_count(user), oracle.following_count(user))


async def test_a_survey_moves_authors_both_ways(scene: Scene) -> None:
    scene.tweet(scene.star)
    await scene.drain()  # found to be large
    await scene.keeper.survey()
    assert await scene.state_of(scene.star) is State.CELEBRITY
    for fan in scene.fans[5:]:
        scene.follow(fan, scene.star, UserUnfollowed)
    await scene.drain()
    survey = asyncio.create_task(scene.keeper.survey())
    await scene.until_delivered(survey)
    assert await scene.state_of(scene.star) is None
    await _every_home_is_the_oracles(scene)


@pytest.mark.parametrize("state", [State.PROMOTING, State.DEMOTING, State.DRAINING])
async def test_the_next_keeper_finishes_what_one_began(scene: Scene, state: State) -> None:
    before = [scene.tweet(scene.star) for _ in range(3)]
    await scene.drain()
    for fan in scene.fans:
        assert await scene.home(fan) == before[::-1]
    if state is State.PROMOTING:
        await scene.tiers.enter(scene.star, state)
    else:
        await scene.keeper.promote([scene.star])
        before.append(scene.tweet(scene.star))
        await scene.drain()
        (row,) = [row for row in await scene.tiers.rows() if row.author_id == scene.star]
        row = await scene.tiers.move(row, State.DEMOTING) or row
        if state is State.DRAINING:
            # The backfill came first, as it always does.
            await scene.keeper._backfill([scene.star])
            await scene.tiers.move(row, State.DRAINING)
    before.append(scene.tweet(scene.star))
    await scene.work("new-tweets")
    survey = asyncio.create_task(scene.keeper.survey())
    await scene.until_delivered(survey)
    await scene.drain()
    # Fourteen fans are enough: who was on the way down is a celebrity again.
    assert await scene.state_of(scene.star) is State.CELEBRITY
    for fan in scene.fans:
        assert await scene.home(fan) == before[::-1]


async def test_who_was_seen_keeps_his_timeline_and_nobody_else_gets_one(scene: Scene) -> None:
    seen, unseen = scene.fans[:2]
    keys, bus = scene.keys, scene.world.bus
    await scene.home(seen)
    await bus.call("PEXPIRE", keys.of(HOME, seen), 60_000)
    for user in (seen, unseen):
        opened = TimelineOpened(event_id=next(scene.ids), occurred_at=1, user_id=user)
        scene.log.write("user-activity", opened)
    assert await scene.work("user-activity")
    assert await bus.call("PTTL", keys.of(HOME, seen)) > 80_000_000  # inactive_days is one here
    tweet = scene.tweet(scene.star)
    await scene.drain()
    assert await bus.call("EXISTS", keys.of(HOME, unseen)) == 0
    assert scene.fan_out.deliveries == 1
    assert await scene.home(unseen) == await scene.home(seen) == [tweet]


async def test_a_change_by_one_who_keeps_no_more_is_refused(scene: Scene) -> None:
    row = await scene.tiers.enter(scene.star, State.PROMOTING)
    assert row is not None
    assert await scene.tiers.enter(scene.star, State.PROMOTING) is None
    assert await scene.tiers.move(row, State.CELEBRITY) is not None
    assert await scene.tiers.move(row, State.CELEBRITY) is None
    assert not await scene.tiers.leave(row)
    assert await scene.state_of(scene.star) is State.CELEBRITY


async def test_chunks_of_a_deleted_tweet_are_not_delivered(scene: Scene) -> None:
    for fan in scene.fans:
        await scene.home(fan)
    doomed = scene.tweet(scene.star)
    await scene.work("new-tweets")
    assert not scene.log.empty("fan-out")
    gone = TweetDeleted(
        event_id=next(scene.ids), occurred_at=1, tweet_id=doomed, user_id=scene.star
    )
    scene.log.write("new-tweets", gone)
    await scene.work("new-tweets")
    await scene.drain()
    assert scene.fan_out.deliveries == 0
    kept = scene.tweet(scene.star)
    await scene.drain()
    assert scene.fan_out.deliveries == FANS
    assert await scene.home(scene.fans[0]) == [kept]


async def test_a_chunk_that_has_grown_is_cut_and_loses_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_FOLLOWERS", 4)
    monkeypatch.setattr(chunks_module, "CHUNK_FOLLOWERS_MAX", 8)
    for fan in scene.fans:
        await scene.home(fan)
    first = scene.tweet(scene.star)
    await scene.drain()
    chunks: Chunks = scene.reader.graph.chunks
    cuts = (await chunks.cuts([scene.star]))[scene.star]
    assert len(cuts.active) == 4  # 14 followers, 4 each
    late = scene.base + 500
    scene.follow(late, scene.star)
    for fan in scene.fans[:5]:
        scene.follow(fan, scene.star, UserUnfollowed)
    await scene.drain()
    whole = (scene.star, 0, END)
    found = await chunks.followers([whole])
    assert found[whole] == array("q", [*scene.fans[5:], late])
    assert sum((await chunks.sizes({scene.star: cuts})).values()) == FANS - 5 + 1
    await scene.home(late)
    second = scene.tweet(scene.star)
    await scene.drain()
    for fan in scene.fans[5:]:
        assert await scene.home(fan) == [second, first]
    assert await scene.home(late) == [second, first]
    await _every_home_is_the_oracles(scene)


@pytest.mark.parametrize("seed", range(4))
async def test_follows_during_a_cut_are_never_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_FOLLOWERS", 3)
    monkeypatch.setattr(chunks_module, "CHUNK_FOLLOWERS_MAX", 4)
    rng = Random(seed)
    scene.tweet(scene.star)
    await scene.work("new-tweets")  # large, with one chunk that has grown
    newcomers = [scene.base + 100 + number for number in range(12)]
    whole = (scene.star, 0, END)

    async def cut() -> None:
        for _ in range(4):
            chunks = Chunks(scene.world.bus, scene.world.store, scene.keys)
            await chunks.cut(*whole)
            await chunks.followers([whole])
            await asyncio.sleep(rng.random() * 0.01)

    async def follow() -> None:
        for newcomer in newcomers:
            scene.follow(newcomer, scene.star)
            await scene.work("social-graph")
            await asyncio.sleep(rng.random() * 0.01)

    await asyncio.gather(cut(), cut(), follow())
    chunks = Chunks(scene.world.bus, scene.world.store, scene.keys)
    await chunks.cut(*whole)
    assert (await chunks.followers([whole]))[whole] == array("q", [*scene.fans, *newcomers])
    page = await scene.reader.graph.follower_page(scene.star, NEWEST, 100)
    assert sorted(page) == [*scene.fans, *newcomers]


async def test_a_dead_deliverer_is_followed_by_one_who_goes_on(scene: Scene) -> None:
    for fan in scene.fans:
        await scene.home(fan)
    tweets = [scene.tweet(scene.star) for _ in range(4)]
    await scene.work("new-tweets")
    piece = scene.log.take("fan-out", 2)
    assert piece is not None
    await scene.fan_out.apply(piece)  # and dies before it says so
    scene.fan_out = scene.deliverer()
    await scene.fan_out.open()
    assert await scene.fan_out.resume("fan-out", scene.log.partition, TOPIC_ID) == 2
    await scene.drain()
    for fan in scene.fans:
        assert await scene.home(fan) == tweets[::-1]
