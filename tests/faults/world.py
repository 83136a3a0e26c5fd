"""A small Murmuration that faults are done to: a population, readers, and a worker for each unit.

Traffic comes in rounds of the same population. Meanwhile readers open home timelines, so that these
are warm and pushed to when the fault hits, and counts are cached; what is cold is read from the
store and proves little.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from events.log import Log
from events.snowflake import SnowflakeMinter
from events.types import TweetViewed
from gateway.queries.counted import CountedTweets
from gateway.queries.home import HomeTimelines
from infra import compose
from infra.compose import Engines
from infra.demo.children import Worker
from infra.demo.convergence import Lag, LogView, open_view
from infra.prepare import prepare_on
from infra.settings import Settings
from infra.simulate import appender
from infra.simulate.appender import Appender
from infra.simulate.generator import Plan
from projections.accounts.layout import UserFragment
from projections.base import RetryableError
from projections.engagement.read import EngagementReader
from projections.tweets.layout import TweetFragment
from tests.faults.collected import collections_different
from tests.faults.recovery import Ended, ended
from tests.oracle import Oracle, TweetCounts

USERS = 150
CELEBRITIES_FROM = 40
POPULAR_FROM = 20
SURVEY_S = 2.0
NEVER_S = 86_400.0
CONVERGE_S_MAX = 150.0
READ_PAUSE_S = 0.01
"""Each timeline is read about every two seconds, and the cores are left to the workers."""
PAGE = 100
AT_ONCE = 8
Answer = TypeVar("Answer")


@dataclass
class World:
    """Everything at hand; `traffic`, do harm, `converge`, then ask for `differences`."""

    on: Engines
    view: LogView
    lag: Lag
    workers: dict[str, Worker]
    appender: Appender
    homes: HomeTimelines[TweetFragment, UserFragment]
    engagement: EngagementReader
    log: Log
    minter: SnowflakeMinter
    env: dict[str, str]
    supervisors: list[asyncio.Task[None]] = field(default_factory=list)

    async def traffic(
        self, events: int, rate: float = 0, stop: asyncio.Event | None = None
    ) -> None:
        """Let the population act, until ``stop`` at most; it goes on where it ended before."""
        await self.appender.run(rate=rate, events=events, stop=stop or asyncio.Event())

    async def read(self) -> None:
        """Open home timelines, each user's in turn, until cancelled; an engine may be away."""
        while True:
            for person in self.appender.simulation.people:
                try:
                    await self.homes.page(person.user_id, None, 20)
                except RetryableError:
                    await asyncio.sleep(0.2)
                await asyncio.sleep(READ_PAUSE_S)

    async def warm(self) -> None:
        """Open every home timeline once."""
        people = [person.user_id for person in self.appender.simulation.people]
        await by_some(people, lambda user: self.homes.page(user, None, 20))

    async def converge(self) -> None:
        """Wait for lag zero; a worker that ended for good fails the test with its last words."""
        done = asyncio.create_task(self.lag.until_zero(CONVERGE_S_MAX))
        try:
            await asyncio.wait({done, *self.supervisors}, return_when=asyncio.FIRST_COMPLETED)
            for supervisor in self.supervisors:
                if supervisor.done():
                    supervisor.result()
            await done
        finally:
            done.cancel()

    async def kill(self, unit: str) -> Ended:
        """SIGKILL a worker and start another; tells what it left."""
        return await self._replace(unit, self.workers[unit].kill)

    async def stop(self, unit: str) -> Ended:
        """SIGTERM a worker, wait for its end and start another; tells what it left."""
        return await self._replace(unit, self.workers[unit].stop)

    async def _replace(self, unit: str, end: Callable[[], Awaitable[object]]) -> Ended:
        place = list(self.workers).index(unit)
        self.supervisors[place].cancel()
        at = time.monotonic()
        await end()
        left = await ended(self.on, unit, at)
        await self.workers[unit].start()
        self.supervisors[place] = asyncio.create_task(self.workers[unit].supervise())
        return left

    async def events(self) -> int:
        """How many events are in the log."""
        return sum((await self.view.ends()).values())

    async def oracle(self, *, distinct: bool = False) -> Oracle:
        """What readers must see; ``distinct`` takes an event once that is twice in a row.

        Views excepted: one has no identity but its record.
        """
        oracle, last = Oracle(), dict[tuple[str, int], int]()
        async for record in self.view.records({}, await self.view.ends()):
            place, event = (record.topic, record.partition), record.event
            again = last.get(place) == event.event_id and not isinstance(event, TweetViewed)
            if not (distinct and again):
                oracle.feed(record)
            last[place] = event.event_id
        return oracle

    async def differences(self, *, distinct: bool = False) -> tuple[int, list[str]]:
        """Entries compared, and a line for each user's timeline or tweet's counts that differ."""
        oracle = await self.oracle(distinct=distinct)
        lines: list[str] = []
        compared = 0
        users = list(filter(oracle.visible, oracle.users()))
        for user, found in zip(users, await by_some(users, self._whole), strict=True):
            expected = oracle.home(user)
            compared += len(expected)
            if found != expected:
                missing = sorted(set(expected) - set(found))[:3]
                extra = sorted(set(found) - set(expected))[:3]
                lines.append(f"{user}: {len(expected)}/{len(found)} -{missing} +{extra}")
        lines += await self.counts_different(oracle)
        return compared, lines + await collections_different(self.on, oracle)

    async def counts_different(self, oracle: Oracle) -> list[str]:
        """A line for each tweet, deleted ones too, whose counts are not the oracle's."""
        posted = oracle.posted()
        lines: list[str] = []
        for at in range(0, len(posted), PAGE):
            tweets = posted[at : at + PAGE]
            found = await self.engagement.counts(tweets)
            for tweet in tweets:
                expected = oracle.counts(tweet)
                now = found[tweet]
                counted = TweetCounts(now.likes, now.views, now.replies, now.retweets, now.quotes)
                if counted != expected:
                    lines.append(f"tweet {tweet}: {expected} expected, {counted} found")
        return lines

    async def _whole(self, user: int) -> list[int]:
        found: list[int] = []
        below: int | None = None
        while True:
            page = await self.homes.page(user, below, PAGE)
            assert not page.incomplete
            found += [tweet_id for tweet_id, _ in page.tweets]
            below = page.below
            if below is None:
                return found


async def by_some(users: Sequence[int], read: Callable[[int], Awaitable[Answer]]) -> list[Answer]:
    """What is read of each user, some at a time."""
    found: list[Answer] = []
    for at in range(0, len(users), AT_ONCE):
        found += await asyncio.gather(*map(read, users[at : at + AT_ONCE]))
    return found


HOMES = ("accounts", "tweets", "timelines", "fan-out", "engagement")
"""Units that home timelines are read from, with the counts in them."""


async def stopped(workers: Iterable[Worker]) -> None:
    """Stops workers, all at once: each takes its time to leave its group."""
    await asyncio.gather(*(worker.stop() for worker in workers))


@asynccontextmanager
async def world(
    settings: Settings,
    logs: Path,
    seed: int,
    *,
    keeps_tiers: bool = True,
    through: Callable[[Log], appender.Log] = lambda log: log,
    env: Mapping[str, str] | None = None,
    units: Collection[str] = tuple(compose.UNITS),
    users: int = USERS,
) -> AsyncIterator[World]:
    """Topics, workers and a population on running engines; stopped at the end.

    Args:
        settings: The engines.
        logs: Folder of the workers' output.
        seed: Of the population.
        keeps_tiers: Whether the workers promote and demote authors by themselves.
        through: What the population's events go through on their way into the log.
        env: More settings of the workers.
        units: That there are tables and workers of.
        users: How many people there are.
    """
    chosen = settings.model_copy(
        update={"celebrity_threshold": CELEBRITIES_FROM, "popular_threshold": POPULAR_FROM}
    )
    environ = {
        "MURMUR_DATA_DIR": str(chosen.data_dir),
        "MURMUR_TOPIC_PREFIX": chosen.topic_prefix,
        "MURMUR_GENERATION": chosen.generation,
        "MURMUR_CELEBRITY_THRESHOLD": str(CELEBRITIES_FROM),
        "MURMUR_POPULAR_THRESHOLD": str(POPULAR_FROM),
        "MURMUR_TIER_SURVEY_S": str(SURVEY_S if keeps_tiers else NEVER_S),
        **(env or {}),
    }
    async with AsyncExitStack() as closing:
        on = await closing.enter_async_context(compose.engines(chosen))
        await prepare_on(on, units=units)
        workers = {unit: Worker(unit, logs, environ) for unit in units}
        closing.push_async_callback(stopped, workers.values())
        for worker in workers.values():
            await worker.start()
        view = open_view(on)
        closing.callback(view.close)
        log = await closing.enter_async_context(compose.open_log(on))
        minter = await closing.enter_async_context(compose.open_minter(on))
        plan = Plan(users=users, seed=seed, follows_mean=12.0, day_seconds=20.0)
        population = await Appender.open(through(log), minter, plan)
        engagement = compose.engagement_reader(on)
        tweets = CountedTweets(compose.tweets_reader(on), engagement)
        homes = HomeTimelines(compose.timelines_reader(on), tweets, compose.accounts_reader(on))
        lag = Lag(on, view, units)
        here = World(on, view, lag, workers, population, homes, engagement, log, minter, environ)
        here.supervisors = [asyncio.create_task(w.supervise()) for w in workers.values()]
        try:
            yield here
        finally:
            for supervisor in here.supervisors:
                supervisor.cancel()
            await asyncio.gather(*here.supervisors, return_exceptions=True)
