"""Everybody is pulled for a while, and nobody's timeline loses anything by it, on the real engines.

The scene is that of ``tiers_scene``: both workers, chunks that are late, readers that look. Pushing
stops and begins again over and over, also while an author passes the tiers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from events.types import UserFollowed, UserUnfollowed
from gateway.queries.home import HomeTimelines
from gateway.queries.view import HomePage
from projections.base import RetryableError
from projections.store import Row, Store
from projections.timelines.layout import HOME
from projections.timelines.read import TimelinesReader
from projections.timelines.tiers import State
from tests.contracts.case import World
from tests.contracts.timelines_case import HistoryTweet, HistoryTweets, HistoryUsers
from tests.integration.projections.tiers_scene import (
    LENGTH,
    Scene,
    every_home_is_the_oracles,
    nobody_loses_what_he_saw,
)

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_reader_loses_a_tweet_while_pushing_stops_and_begins(
    scene: Scene, seed: int
) -> None:
    rng = Random(seed)

    def act(reader: int) -> None:
        scene.tweet(rng.choice((scene.star, scene.other, reader)))
        if rng.random() < 0.2:
            kind = rng.choice((UserUnfollowed, UserFollowed))
            scene.follow(rng.choice(scene.fans[4:]), scene.other, kind)

    async def change() -> None:
        for turn in range(6):
            assert await scene.timelines.pull_only(turn % 2 == 0)
            await asyncio.sleep(rng.random() * 0.1)
            if rng.random() < 0.5:
                await scene.keeper.promote([scene.star])
                await asyncio.sleep(rng.random() * 0.1)
                await scene.keeper.demote([scene.star])

    await nobody_loses_what_he_saw(scene, rng, act, change)
    assert scene.timelines.unpushed > 0


async def test_nothing_is_pushed_and_every_home_is_whole(scene: Scene) -> None:
    for fan in scene.fans:
        await scene.home(fan)
    assert await scene.timelines.pull_only(True)
    assert not await scene.timelines.pull_only(True)
    delivered = scene.timelines.deliveries, scene.fan_out.deliveries
    posted = [scene.tweet(author) for author in (scene.star, scene.other) * 3]
    newcomer = scene.base + 300
    scene.follow(newcomer, scene.star)
    await scene.drain()
    assert delivered == (scene.timelines.deliveries, scene.fan_out.deliveries)
    assert scene.timelines.unpushed == len(posted)
    assert await scene.home(scene.fans[0]) == posted[::-1]
    await every_home_is_the_oracles(scene)
    assert await scene.timelines.pull_only(False)
    await every_home_is_the_oracles(scene)  # filled anew, one by one
    posted.append(scene.tweet(scene.star))
    await scene.drain()
    assert scene.fan_out.deliveries > delivered[1]
    assert await scene.home(scene.fans[0]) == posted[::-1]


async def test_what_was_cached_before_is_trimmed_and_keeps_its_epoch(scene: Scene) -> None:
    fan = scene.fans[0]
    await scene.timelines.pull_only(True)
    await scene.timelines.pull_only(False)
    await scene.home(fan)
    value = await scene.world.bus.call("GET", scene.keys.of(HOME, fan))
    assert value[11:13] == b"\x01\x00"
    for _ in range(LENGTH * 2):
        scene.tweet(scene.star)
    await scene.drain()
    value = await scene.world.bus.call("GET", scene.keys.of(HOME, fan))
    assert value[9:13] == b"\x00\x00\x01\x00"
    assert value[1:9] != bytes(8)
    await every_home_is_the_oracles(scene)


class AwayAtTimes(Store):
    """A store that does not answer for author timelines while ``away``."""

    away = False

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        if self.away and "author_tweets" in cql:
            raise RetryableError("the store is away")
        return await super().execute(cql, values)


async def _page(
    scene: Scene, store: Store, user: int, *, cached_only: bool = False
) -> HomePage[HistoryTweet, bool]:
    reader = TimelinesReader(
        scene.world.bus, store, scene.keys, timeline_length=LENGTH, inactive_days=1
    )
    tweets, users = HistoryTweets(scene.log.history), HistoryUsers(scene.log.history)
    homes: HomeTimelines[HistoryTweet, bool] = HomeTimelines(reader, tweets, users)
    return await homes.page(user, None, 50, cached_only=cached_only)


def _store(world: World) -> AwayAtTimes:
    return AwayAtTimes(world.store._session, world.store._keyspace, world.store.generation)


async def test_without_the_store_what_was_cached_before_is_shown_as_incomplete(
    scene: Scene,
) -> None:
    fan, store = scene.fans[0], _store(scene.world)
    before = scene.tweet(scene.other)
    await scene.drain()
    await scene.home(fan)
    await scene.timelines.pull_only(True)
    late = scene.tweet(scene.other)
    await scene.drain()
    store.away = True
    page = await _page(scene, store, fan)
    assert page.incomplete and [tweet_id for tweet_id, _ in page.tweets] == [before]
    with pytest.raises(RetryableError):
        await _page(scene, store, scene.fans[1])  # never cached
    store.away = False
    page = await _page(scene, store, fan)
    assert not page.incomplete and [tweet_id for tweet_id, _ in page.tweets] == [late, before]


async def test_what_is_cached_is_enough_at_level_two(scene: Scene) -> None:
    fan, store = scene.fans[0], _store(scene.world)
    shown = scene.tweet(scene.other)
    await scene.drain()
    await scene.home(fan)
    await scene.keeper.promote([scene.star])
    assert await scene.state_of(scene.star) is State.CELEBRITY
    pulled = scene.tweet(scene.star)
    await scene.drain()
    store.away = True
    page = await _page(scene, store, fan, cached_only=True)
    assert page.incomplete and [tweet_id for tweet_id, _ in page.tweets] == [shown]
    store.away = False
    page = await _page(scene, store, fan)
    assert not page.incomplete and [tweet_id for tweet_id, _ in page.tweets] == [pulled, shown]
    # What was cached before pushing stopped is shown while it is stopped, and where a new one
    # cannot be filled; else it is filled.
    await scene.timelines.pull_only(True)
    page = await _page(scene, store, fan, cached_only=True)
    assert [tweet_id for tweet_id, _ in page.tweets] == [shown]
    await scene.timelines.pull_only(False)
    store.away = True
    page = await _page(scene, store, fan, cached_only=True)
    assert page.incomplete and [tweet_id for tweet_id, _ in page.tweets] == [shown]
    store.away = False
    page = await _page(scene, store, fan, cached_only=True)
    assert [tweet_id for tweet_id, _ in page.tweets] == [shown]
    value = await scene.world.bus.call("GET", scene.keys.of(HOME, fan))
    assert value[11:13] == b"\x01\x00"
