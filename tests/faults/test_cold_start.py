"""Redis holds nothing of what many ask for: what that costs the store.

A process reads through the same guards as the gateway does and counts its statements. Each figure
is in the log; the bound of each is what the code says of itself (``projections.flights``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.metrics import GatewayMetrics
from gateway.queries.counted import CountedTweets
from gateway.queries.home import HomeTimelines
from infra import compose
from infra.compose import Engines
from infra.guarded import guarded
from infra.settings import Settings
from projections.accounts.layout import UserFragment
from projections.base import Overloaded
from projections.cache import LOADS_MAX
from projections.timelines.layout import CELEBRITY, HOME
from projections.timelines.read import BUILDS_MAX, BUILDS_WAITING_MAX
from projections.timelines.tiers import Tiers
from projections.tweets.layout import TWEET, TweetFragment
from tests.faults.figures import Figures, record
from tests.faults.world import HOMES, World, world

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.timeout(300),
]

SEED = 90
EVENTS = 2_500
READERS = 2_000
READS = 200
AT_ONCE = 8
POPULAR = 5


@dataclass
class Readers:
    """Readers of one process, and what they cost."""

    here: World
    on: Engines
    homes: HomeTimelines[TweetFragment, UserFragment]
    tweets: CountedTweets
    metrics: GatewayMetrics

    async def cost(self, reads: Sequence[Callable[[], Awaitable[Any]]]) -> tuple[int, list[Any]]:
        """Statements that it took to read all at once, and what came."""
        before = self.metrics.store_reads._value.get()
        found = await asyncio.gather(*(read() for read in reads), return_exceptions=True)
        return int(self.metrics.store_reads._value.get() - before), found

    async def forget(self, unit: str, kind: str, ids: Sequence[int]) -> None:
        keys = self.on.keys(unit)
        await self.here.on.bus.calls_strict([("DEL", keys.of(kind, i)) for i in ids])

    @property
    def users(self) -> list[int]:
        return [person.user_id for person in self.here.appender.simulation.people]


@pytest.fixture(scope="module")
async def cold(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Readers]:
    settings = stack.model_copy(update={"topic_prefix": f"t{SEED}{id(stack)}-"})
    async with AsyncExitStack() as closing:
        here = await closing.enter_async_context(
            world(settings, tmp_path_factory.mktemp("cold"), SEED, units=HOMES)
        )
        await here.traffic(EVENTS)
        await here.converge()
        metrics = GatewayMetrics(CollectorRegistry())
        behind = await closing.enter_async_context(guarded(here.on, metrics))
        on = behind.on
        tweets = CountedTweets(compose.tweets_reader(on), compose.engagement_reader(on))
        homes = HomeTimelines(compose.timelines_reader(on), tweets, compose.accounts_reader(on))
        found = Readers(here, on, homes, tweets, metrics)
        for user in found.users:  # all is warm, but for what a test forgets
            await homes.page(user, None, 20)
        yield found


def told(what: str, more: str) -> None:
    record(Figures(f"Redis lacks {what}", SEED, more=more))


async def test_many_readers_of_one_tweet(cold: Readers) -> None:
    shown = next(
        page.tweets
        for page in [await cold.homes.page(user, None, 20) for user in cold.users]
        if page.tweets
    )
    tweet_id = shown[0][0]
    await cold.forget("tweets", TWEET, [tweet_id])
    cost, found = await cold.cost([lambda: cold.tweets.get([tweet_id])] * READERS)
    told("one tweet, asked for at once", f"{READERS} readers, {cost} statements")
    assert all(list(one) == [tweet_id] for one in found)
    assert cost <= LOADS_MAX + 1


async def test_many_readers_of_one_home_timeline(cold: Readers) -> None:
    user = cold.users[0]
    expected = await cold.homes.page(user, None, 20)
    await cold.forget("timelines", HOME, [user])
    once, _ = await cold.cost([lambda: cold.homes.page(user, None, 20)])
    await cold.forget("timelines", HOME, [user])
    cost, found = await cold.cost([lambda: cold.homes.page(user, None, 20)] * READERS)
    told("one home timeline, asked for at once", f"{READERS} readers, {cost} statements")
    assert all(one.tweets == expected.tweets for one in found)
    assert cost <= 2 * max(1, once)


async def test_many_readers_of_one_celebrity(cold: Readers) -> None:
    tiers = Tiers(cold.on.bus, cold.on.store, cold.on.keys("timelines"))
    celebrities = sorted((await tiers.view()).pulled)
    assert celebrities
    before = [await cold.homes.page(user, None, 20) for user in cold.users]
    await cold.forget("timelines", CELEBRITY, celebrities)
    cost, found = await cold.cost(
        [lambda user=user: cold.homes.page(user, None, 20) for user in cold.users]  # type: ignore[misc]
    )
    more = f"{len(cold.users)} readers of {len(celebrities)} celebrities, {cost} statements"
    told("celebrities, asked for at once", more)
    assert [one.tweets for one in found] == [one.tweets for one in before]
    assert cost <= 2 * len(celebrities)


async def test_many_cold_timelines_at_once(cold: Readers) -> None:
    before = {user: await cold.homes.page(user, None, 20) for user in cold.users}
    await cold.forget("timelines", HOME, cold.users)
    alone = 0
    for user in cold.users:
        cost, _ = await cold.cost([lambda user=user: cold.homes.page(user, None, 20)])  # type: ignore[misc]
        alone += cost
    await cold.forget("timelines", HOME, cold.users)
    cost, found = await cold.cost(
        [lambda user=user: cold.homes.page(user, None, 20) for user in cold.users]  # type: ignore[misc]
    )
    refused = [one for one in found if isinstance(one, Overloaded)]
    more = f"{alone} statements one by one, {cost} at once with {len(refused)} refused"
    told(f"{len(cold.users)} home timelines, asked for at once", more)
    assert len(refused) == len(cold.users) - BUILDS_MAX - BUILDS_WAITING_MAX
    assert cost <= alone
    for user, page in zip(cold.users, found, strict=True):
        if not isinstance(page, Overloaded):
            assert page.tweets == before[user].tweets


async def test_what_is_read_most_comes_back_first(cold: Readers) -> None:
    """An emptied Redis is filled by readers alone: nothing comes back that nobody asks for."""
    chance, users = random.Random(SEED), cold.users
    weights = [1 / rank for rank in range(1, len(users) + 1)]
    asked = chance.choices(users, weights, k=READS)
    before = {user: await cold.homes.page(user, None, 20) for user in set(asked)}
    await cold.forget("timelines", HOME, users)
    cost = 0
    for at in range(0, READS, AT_ONCE):
        some = asked[at : at + AT_ONCE]
        statements, pages = await cold.cost(
            [lambda user=user: cold.homes.page(user, None, 20) for user in some]  # type: ignore[misc]
        )
        cost += statements
        assert [page.tweets for page in pages] == [before[user].tweets for user in some]
    keys = cold.on.keys("timelines")
    there = await cold.here.on.bus.calls_strict([("EXISTS", keys.of(HOME, user)) for user in users])
    back = {user for user, exists in zip(users, there, strict=True) if exists}
    assert back == set(asked)
    assert set(users[:POPULAR]) <= back
    more = f"{READS} reads of {len(back)} timelines, {cost} statements; no other came back"
    told("all home timelines: the most read first", more)
