"""``tweet_visible``: from the append of a tweet until a follower has it, at half load.

The population of ``fan_out``, one worker. Tweets are appended one by one for ``BENCH_SECONDS``
(default 10) at 75,000 deliveries a second, half of what ``fan_out`` aims at; of one in eight it is
measured when one of its followers has it. Steady traffic comes in slices of a few tweets, which
cost more each than those of a burst. Beside: the same with next to no load, and the same while
most authors tweet for the first time in a day, so that their followers are read from the store.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from itertools import count

from events.log import Log
from events.snowflake import compose as compose_id
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import load
from projections.timelines.unit import NAME
from tests.benchmarks.fan_out import FOLLOWERS, Population, populate, population, tweets
from tests.benchmarks.harness import Figure
from tests.benchmarks.pushing import (
    append,
    quantile,
    tweet,
    until_applied,
    until_seen,
    workers,
)

HALF_LOAD = 75_000
"""Deliveries a second."""

IDLE_TWEETS_PER_SECOND = 10.0
SAMPLED = 8
TICK_SECONDS = 0.01
SECONDS_MAX = 60.0


async def paced(
    on: Engines, log: Log, people: Population, rate: float, seconds: float, sampled: int
) -> list[float]:
    """Appends tweets at a rate; seconds until a follower has each of those that are sampled."""
    rng, found = random.Random(3), list[float]()
    authors = list(people.followers)
    ids = count(compose_id(int(time.time() * 1000), 3, 0))

    async def one(author: int, tweet_id: int, looks: bool) -> None:
        began = time.perf_counter()
        await log.append(tweet(author, tweet_id))
        if looks:
            await until_seen(on, rng.choice(people.followers[author]), tweet_id, SECONDS_MAX)
            found.append(time.perf_counter() - began)

    started, posted = time.perf_counter(), 0
    async with asyncio.TaskGroup() as group:
        while (elapsed := time.perf_counter() - started) < seconds:
            while posted < elapsed * rate:
                group.create_task(one(rng.choice(authors), next(ids), posted % sampled == 0))
                posted += 1
            await asyncio.sleep(TICK_SECONDS)
    return found


async def run() -> list[Figure]:
    """Measures on the running stack."""
    seconds = float(os.environ.get("BENCH_SECONDS", "10"))
    settings = load(topic_prefix=f"bench-{secrets.token_hex(4)}-", generation="bench4").settings
    async with compose.engines(settings) as on:
        await prepare_on(on)
        people = population()
        await populate(on, people)
        with workers(settings, NAME):
            async with compose.open_log(on) as log:
                await until_applied(on, NAME, await append(log, tweets(people, 200)), SECONDS_MAX)
                idle = await paced(on, log, people, IDLE_TWEETS_PER_SECOND, seconds, 1)
                unread, half = [
                    await paced(on, log, people, HALF_LOAD / FOLLOWERS, seconds, SAMPLED)
                    for _ in range(2)
                ]
    return [
        Figure(
            f"tweet_visible_p{share}",
            quantile(half, share / 100) * 1000,
            f"ms from append to visible, at {HALF_LOAD:,} deliveries/s",
            {
                "idle": quantile(idle, share / 100) * 1000,
                "followers not cached": quantile(unread, share / 100) * 1000,
            },
        )
        for share in (50, 99)
    ]
