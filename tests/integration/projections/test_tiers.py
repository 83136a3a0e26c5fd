"""Tiers and chunks on the real engines: nobody loses or misses a tweet while they change.

Authors are promoted and demoted over and over while tweets are posted, follows come and go, chunks
are delivered late, and readers look: what a reader has seen once he sees ever after, and at the end
every timeline is the oracle's.
"""

from __future__ import annotations

import asyncio
from array import array
from random import Random

import pytest

from events.types import TimelineOpened, TweetDeleted, UserUnfollowed
from projections.timelines import chunks as chunks_module
from projections.timelines.authors import NEWEST
from projections.timelines.chunks import END, Chunks
from projections.timelines.layout import HOME
from projections.timelines.tiers import State
from tests.contracts.history import TOPIC_ID
from tests.integration.projections.tiers_scene import (
    FANS,
    Scene,
    every_home_is_the_oracles,
    nobody_loses_what_he_saw,
)

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_reader_loses_a_tweet_while_tiers_change(scene: Scene, seed: int) -> None:
    rng = Random(seed)

    def act(reader: int) -> None:
        scene.tweet(rng.choice((scene.star, scene.star, scene.other, reader)))
        if rng.random() < 0.1:
            scene.follow(rng.choice(scene.fans[4:]), scene.star, UserUnfollowed)
        if rng.random() < 0.1:
            scene.follow(rng.choice(scene.fans[4:]), scene.star)

    async def change() -> None:
        for _ in range(3):
            await scene.keeper.promote([scene.star])
            assert await scene.state_of(scene.star) is State.CELEBRITY
            await asyncio.sleep(rng.random() * 0.2)
            await scene.keeper.demote([scene.star])
            assert await scene.state_of(scene.star) is None
            await asyncio.sleep(rng.random() * 0.2)

    await nobody_loses_what_he_saw(scene, rng, act, change, lost=0.05)


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
    await every_home_is_the_oracles(scene)


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
    await every_home_is_the_oracles(scene)


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
