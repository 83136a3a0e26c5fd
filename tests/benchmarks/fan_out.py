"""``fan_out``: deliveries a second over the whole path, from append to visible in every timeline.

A thousand authors with 200 followers each, out of 20,000 readers with warm timelines. The tweets
are appended through the log while one worker process runs; the clock stops when the timelines unit
has applied the last of them, and a sample of timelines is then counted. Beside it the bare script:
the same script calls with the same keys and ids, made beforehand and sent in the same sizes, with
nothing else running. ``BENCH_TWEETS`` (default 8,000) sets the number of tweets.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import DEVNULL, Popen

from events.log import Log
from events.slices import Record
from events.snowflake import compose as compose_id
from events.types import TweetPosted, UserFollowed
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import Settings, load
from projections.bus import Argument, Command
from projections.functions import EFFECTS
from projections.keys import Keys
from projections.timelines import graph, marked
from projections.timelines.layout import HOME, TABLES, pack_ids
from projections.timelines.unit import NAME
from tests.benchmarks.harness import Figure

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
    on.bus.use_library(EFFECTS.source)
    for name, ddl in TABLES.items():
        await on.store.create(name, ddl)
    event_id = compose_id(int(time.time() * 1000), 1, 0)
    for author, followers in people.followers.items():
        events = [
            UserFollowed(event_id=event_id, occurred_at=1, user_id=reader, target_user_id=author)
            for reader in followers
        ]
        await on.store.write([f for e in events for f in graph.facts(Record(0, 0, e))])
    keys = on.keys(NAME)
    for at in range(0, READERS, 500):
        await asyncio.gather(*(_warm(on, keys, who) for who in people.readers[at : at + 500]))


async def _warm(on: Engines, keys: Keys, reader: int) -> None:
    key = keys.of(HOME, reader)
    token = await marked.begin(on.bus, key)
    if token is None or not await marked.finish(on.bus, key, token, 0, [], 86_400):
        raise RuntimeError("a timeline could not be warmed")


def tweets(people: Population, count: int) -> list[TweetPosted]:
    """Tweets of random authors."""
    rng = random.Random(11)
    authors = list(people.followers)
    first = compose_id(int(time.time() * 1000), 2, 0)
    return [
        TweetPosted(
            event_id=first + number,
            occurred_at=1,
            tweet_id=first + number,
            user_id=rng.choice(authors),
            text="a tweet of ordinary length, as people write them every day of the year",
            created_at=1,
            conversation_id=first + number,
        )
        for number in range(count)
    ]


@contextmanager
def worker(settings: Settings) -> Iterator[None]:
    """One worker process of the timelines unit."""
    environ = {
        **os.environ,
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
        "MURMUR_DATA_DIR": str(settings.data_dir),
    }
    command = [sys.executable, "-m", "infra.worker", NAME]
    process = Popen(command, env=environ, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def until_applied(on: Engines, ends: dict[str, int], seconds: float) -> None:
    """Returns once the unit has applied every position of ``ends``."""
    applied = on.applied(NAME)
    deadline = time.monotonic() + seconds
    for source, end in ends.items():
        while await applied.at(source) < end:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{source} was not applied up to {end} within {seconds:g} s")
            await asyncio.sleep(0.01)


async def append(log: Log, posted: list[TweetPosted]) -> dict[str, int]:
    """Appends tweets; returns where each partition ends."""
    ends: dict[str, int] = {}
    for position in await log.append_many(posted):
        source = f"{position.topic}/{position.partition}"
        ends[source] = max(ends.get(source, 0), position.offset + 1)
    return ends


async def whole_path(on: Engines, people: Population, count: int) -> float:
    """Deliveries a second from append to visible."""
    with worker(on.settings):
        async with compose.open_log(on) as log:
            await until_applied(on, await append(log, tweets(people, 200)), READY_SECONDS_MAX)
            before = await entries(on, people.readers)
            posted = tweets(people, count)
            began = time.perf_counter()
            await until_applied(on, await append(log, posted), SECONDS_MAX)
            seconds = time.perf_counter() - began
    after = await entries(on, people.readers)
    expected = count * FOLLOWERS
    if after - before != expected:
        raise RuntimeError(f"{after - before} deliveries are visible, not {expected}")
    return expected / seconds


async def entries(on: Engines, readers: list[int]) -> int:
    """How many entries all timelines hold together."""
    keys = on.keys(NAME)
    lengths = await on.bus.calls_strict([("STRLEN", keys.of(HOME, reader)) for reader in readers])
    return sum((length - marked.MARKER_BYTES) // 8 for length in lengths)


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
    for tweet in posted:
        for follower in people.followers[tweet.user_id]:
            pushed.setdefault(follower, []).append(pack_ids((tweet.tweet_id,)))
    by_bucket: dict[int, list[tuple[bytes, bytes]]] = {}
    for follower, ids in pushed.items():
        timeline = (keys.of(HOME, follower), b"".join(ids))
        by_bucket.setdefault(keys.bucket(follower), []).append(timeline)
    commands: list[Command] = []
    for bucket, timelines in by_bucket.items():
        for names, operation in marked.added(TIMELINE_LENGTH, timelines):
            call: list[Argument] = ["FCALL", EFFECTS.name("murmur_commit"), 1 + len(names)]
            call += [keys.positions(bucket), *names, "new-tweets/0", 0, end, 0, *operation]
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
