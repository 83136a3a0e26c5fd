"""What a client is told while an engine is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from events.errors import BrokerUnreachable
from gateway.answers import HomeTimelinePage
from gateway.guards.breaker import Thresholds
from gateway.guards.guard import EngineAway, Guard
from gateway.guards.guards import Guards
from gateway.metrics import GatewayMetrics
from gateway.queries.home import read_page
from projections.base import PartlyRead, RetryableError
from projections.flights import Bulkhead
from projections.timelines.authors import NEWEST
from projections.timelines.layout import Relations
from tests.unit.gateway.world import World
from tests.unit.waiting import until


async def _away() -> None:
    raise RetryableError("away")


def guards(pages: Bulkhead | None = None) -> Guards:
    metrics = GatewayMetrics(CollectorRegistry())
    at = Thresholds(bad_min=1)
    store, redis, log = (Guard(name, at, _away, metrics) for name in ("store", "redis", "log"))
    return Guards(store=store, redis=redis, log=log, pages=pages or Bulkhead(16, 64))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(guards=guards())
    yield world
    assert world.guards is not None
    await world.guards.close()


async def test_answers_are_marked_while_the_store_is_away(world: World) -> None:
    alice = await world.register("alice")
    tweet = await world.tweet(alice)
    home = await world.send("GET", "/api/timeline/home", user=alice)
    assert "x-stale" not in dict(home.headers)
    assert world.guards is not None
    world.guards.store.failed("no answer")
    home = await world.send("GET", "/api/timeline/home", user=alice)
    assert dict(home.headers)["x-stale"] == "store"
    page = msgspec.json.decode(home.body, type=HomeTimelinePage)
    assert page.meta.stale
    assert not page.meta.incomplete
    assert [t.id for t in page.data] == [str(tweet)]
    one = await world.send("GET", f"/api/tweets/{tweet}", user=alice)
    assert dict(one.headers)["x-stale"] == "store"
    assert json.loads(one.body) == await world.call(200, "GET", f"/api/tweets/{tweet}", user=alice)
    ready = await world.send("GET", "/readyz")
    assert (ready.status, "x-stale" in dict(ready.headers)) == (200, False)
    world.guards.redis.failed("no answer")
    assert (await world.send("GET", "/readyz")).status == 503


async def test_an_engine_that_is_away_is_a_503_that_says_when_to_come_again(world: World) -> None:
    alice = await world.register("alice")
    for error in (EngineAway("store", 2), PartlyRead("away", {}, [1])):
        if isinstance(error, PartlyRead):
            error.__cause__ = EngineAway("store", 2)
        world.tweets.error = error
        response = await world.send("GET", "/api/tweets/1", user=alice)
        assert response.status == 503
        assert dict(response.headers)["retry-after"] == "2"
        assert json.loads(response.body)["type"] == "urn:murmuration:problem:engine-away"


async def test_a_log_that_is_away_is_a_503_for_commands_and_nothing_for_reads(world: World) -> None:
    alice = await world.register("alice")
    world.log.error = BrokerUnreachable("nothing was sent")
    world.log.error.__cause__ = EngineAway("log", 3)
    response = await world.send("POST", "/api/tweets", {"text": "hi"}, user=alice)
    assert response.status == 503
    assert dict(response.headers)["retry-after"] == "3"
    home = await world.send("GET", "/api/timeline/home", user=alice)
    assert (home.status, "x-stale" in dict(home.headers)) == (200, False)


async def test_without_redis_so_many_read_the_store_and_the_others_are_told_to_come_again() -> None:
    world = World(guards=guards(Bulkhead(2, 3)))
    alice = await world.register("alice")
    assert world.guards is not None
    world.guards.redis.failed("no answer")
    world.tweets.go = asyncio.Event()
    reads = [asyncio.create_task(world.send("GET", "/api/tweets/1", user=alice)) for _ in range(20)]
    await until(lambda: sum(read.done() for read in reads) == 15)
    assert world.tweets.under_way == 2
    world.tweets.go.set()
    statuses = sorted(response.status for response in await asyncio.gather(*reads))
    assert statuses == [404] * 5 + [503] * 15
    assert world.metrics.store_pages_refused._value.get() == 15
    await world.guards.close()


class Tweet(msgspec.Struct):
    author_id: int
    retweet_of_id: int = 0
    reply_to_user_id: int = 0
    reply_to_id: int = 0


class Held:
    """Entries by id, of which some are not known."""

    def __init__(self, entries: Mapping[int, Tweet], missing: Collection[int] = ()) -> None:
        self.entries = entries
        self.missing = set(missing)

    async def get(self, ids: Iterable[int]) -> Mapping[int, Tweet]:
        wanted = list(ids)
        found = {i: self.entries[i] for i in wanted if i in self.entries and i not in self.missing}
        if lost := self.missing.intersection(wanted):
            raise PartlyRead("away", found, lost)
        return found


class Source:
    """Candidates, after which the store is asked in vain."""

    def __init__(self, *steps: Sequence[int], retweets: bool = True) -> None:
        self.user_id = 1
        self.relations = Relations(frozenset({2, 3}), frozenset(), frozenset(), frozenset())
        self.authors = frozenset({1, 2, 3})
        self.below = NEWEST
        self.incomplete = False
        self._steps = list(steps)
        self._retweets = retweets

    async def step(self) -> list[int]:
        if not self._steps:
            raise RetryableError("the store is away")
        found = list(self._steps.pop(0))
        self.below = found[-1] if found else self.below
        return found

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        if not self._retweets:
            raise RetryableError("the store is away")
        return {}


TWEETS = {n: Tweet(author_id=2 + n % 2) for n in range(1, 10)}
USERS = {n: Tweet(author_id=n) for n in (1, 2, 3)}


async def test_a_page_leaves_out_what_is_not_held_and_says_so() -> None:
    page = await read_page(Source([9, 8, 7], []), Held(TWEETS, [8]), Held(USERS), NEWEST, 20)
    assert [i for i, _ in page.tweets] == [9, 7]
    assert page.incomplete
    page = await read_page(Source([9, 8, 7], []), Held(TWEETS), Held(USERS, [3]), NEWEST, 20)
    assert ([i for i, _ in page.tweets], page.incomplete) == ([8], True)
    page = await read_page(Source([9, 8], []), Held(TWEETS), Held(USERS), NEWEST, 20)
    assert ([i for i, _ in page.tweets], page.incomplete) == ([9, 8], False)


async def test_a_page_ends_where_the_cache_ends_with_a_cursor_that_works_later() -> None:
    page = await read_page(Source([9, 8]), Held(TWEETS), Held(USERS), NEWEST, 20)
    assert ([i for i, _ in page.tweets], page.below, page.incomplete) == ([9, 8], 8, True)


async def test_a_page_of_which_nothing_can_be_read_is_none() -> None:
    with pytest.raises(RetryableError):
        await read_page(Source(), Held(TWEETS), Held(USERS), NEWEST, 20)
    with pytest.raises(RetryableError):
        await read_page(Source([9, 8], []), Held(TWEETS, TWEETS), Held(USERS), NEWEST, 20)


async def test_what_cannot_be_told_from_a_repetition_is_left_out() -> None:
    tweets = {**TWEETS, 9: Tweet(author_id=2, retweet_of_id=4)}
    page = await read_page(Source([9, 8], [], retweets=False), Held(tweets), Held(USERS), 10, 20)
    assert ([i for i, _ in page.tweets], page.incomplete) == ([8], True)
    page = await read_page(Source([9, 8], []), Held(tweets, [4]), Held(USERS), NEWEST, 20)
    assert ([i for i, _ in page.tweets], page.incomplete) == ([8], True)
