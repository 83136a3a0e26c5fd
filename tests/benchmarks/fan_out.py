"""``fan_out``: deliveries a second over the whole path, from append to visible in every timeline.

A thousand authors with 200 followers each, out of 20,000 readers with warm timelines. The tweets
are appended through the log while one worker process runs; the clock stops when the timelines unit
has applied the last of them, and a sample of timelines is then counted. Beside it the bare script:
the same script calls with the same keys and ids, made beforehand and sent in the same sizes, with
nothing else running. ``BENCH_TWEETS`` (default 8,000) sets the number of tweets.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from dataclasses import dataclass

from events.snowflake import compose as compose_id
from events.types import TweetPosted
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import load
from projections.bus import Argument, Command
from projections.functions import EFFECTS
from projections.keys import Keys
from projections.positions import UNBEGUN
from projections.timelines import marked
from projections.timelines.layout import HOME, pack_ids
from projections.timelines.unit import NAME
from tests.benchmarks.harness import Figure
from tests.benchmarks.pushing import (
    append,
    entries,
    follow,
    make_tables,
    tweet,
    until_applied,
    warm,
    workers,
)

AUTHORS = 1_000
FOLLOWERS = 200
READERS = 20_000
SLICE_TWEETS = 500
TIMELINE_LENGTH = 800
READY_SECONDS_MAX = 60.0
SECONDS_MAX = 120.0


@dataclass(frozen=True)
class Population:
    """Who follows whom."""

    readers: list[int]
    followers: dict[int, list[int]]


def population() -> Population:
    """The same graph in each run, with ids of now, so that runs do not meet."""
    base = compose_id(int(time.time() * 1000), 0, 0)
    readers = [base + number for number in range(READERS)]
    rng = random.Random(7)
    authors = [base + (1 << 22) + number for number in range(AUTHORS)]
    return Population(readers, {author: rng.sample(readers, FOLLOWERS) for author in authors})


async def populate(on: Engines, people: Population) -> None:
    """Writes the graph and warms every reader's timeline."""
    await make_tables(on)
    for author, followers in people.followers.items():
        await follow(on, author, followers)
    await warm(on, people.readers)


def tweets(people: Population, count: int) -> list[TweetPosted]:
    """Tweets of random authors."""
    rng = random.Random(11)
    authors = list(people.followers)
    first = compose_id(int(time.time() * 1000), 2, 0)
    return [tweet(rng.choice(authors), first + number) for number in range(count)]


async def whole_path(on: Engines, people: Population, count: int) -> float:
    """Deliveries a second from append to visible."""
    with workers(on.settings, NAME):
        async with compose.open_log(on) as log:
            ready = await append(log, tweets(people, 200))
            await until_applied(on, NAME, ready, READY_SECONDS_MAX)
            before = await entries(on, people.readers)
            posted = tweets(people, count)
            began = time.perf_counter()
            await until_applied(on, NAME, await append(log, posted), SECONDS_MAX)
            seconds = time.perf_counter() - began
    after = await entries(on, people.readers)
    expected = count * FOLLOWERS
    if after - before != expected:
        raise RuntimeError(f"{after - before} deliveries are visible, not {expected}")
    return expected / seconds


async def bare_script(on: Engines, people: Population, count: int) -> float:
    """Deliveries a second of the script calls alone, made beforehand."""
    keys = Keys(on.settings.generation, f"bare-{secrets.token_hex(4)}", on.settings.buckets)
    posted = tweets(people, count)
    rounds = [
        _commands(keys, people, posted[at : at + SLICE_TWEETS], at + SLICE_TWEETS)
        for at in range(0, count, SLICE_TWEETS)
    ]
    began = time.perf_counter()
    for commands in rounds:
        await on.bus.calls_strict(commands)
    return count * FOLLOWERS / (time.perf_counter() - began)


def _commands(keys: Keys, people: Population, posted: list[TweetPosted], end: int) -> list[Command]:
    pushed: dict[int, list[bytes]] = {}
    for one in posted:
        for follower in people.followers[one.user_id]:
            pushed.setdefault(follower, []).append(pack_ids((one.tweet_id,)))
    by_bucket: dict[int, list[tuple[bytes, bytes]]] = {}
    for follower, ids in pushed.items():
        timeline = (keys.of(HOME, follower), b"".join(ids))
        by_bucket.setdefault(keys.bucket(follower), []).append(timeline)
    commands: list[Command] = []
    for bucket, timelines in by_bucket.items():
        for names, operation in marked.added(TIMELINE_LENGTH, timelines):
            call: list[Argument] = ["FCALL", EFFECTS.name("murmur_commit"), 1 + len(names)]
            call += [keys.positions(bucket), *names, "new-tweets/0", UNBEGUN, end, 0, *operation]
            commands.append(call)
    return commands


async def run() -> list[Figure]:
    """Measures both on the running stack."""
    count = int(os.environ.get("BENCH_TWEETS", "8000"))
    settings = load(topic_prefix=f"bench-{secrets.token_hex(4)}-", generation="bench").settings
    async with compose.engines(settings) as on:
        await prepare_on(on)
        people = population()
        await populate(on, people)
        path = await whole_path(on, people, count)
        bare = await bare_script(on, people, count)
    return [Figure("fan_out", path, "deliveries/s", {"bare script": bare})]
