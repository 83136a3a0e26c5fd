"""``large_fan_out``: an account just under the pull threshold, and everybody else's tweets beside.

One author with ``BENCH_FOLLOWERS`` followers (default 999,999), every one of whom has a warm
timeline; two workers, ``timelines`` and ``fan-out``. Measured, each from before the append:

1. the first tweet, for which the followers are cut into chunks and read from the store;
2. the second, when the last follower has it; every timeline is counted afterwards;
3. tweets of small authors at a steady pace, alone and beside further large fan-outs: until a
   follower has them.

Beside 2: the same deliveries as bare script calls, made beforehand, nothing else running.
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
from infra.fan_out import LogEnds
from infra.prepare import prepare_on
from infra.settings import load
from projections.bus import Argument, Command
from projections.functions import EFFECTS
from projections.keys import Keys
from projections.positions import UNBEGUN
from projections.timelines import marked
from projections.timelines.fan_out import NAME as FAN_OUT
from projections.timelines.layout import HOME, pack_ids
from projections.timelines.unit import NAME
from tests.benchmarks.harness import Figure
from tests.benchmarks.pushing import (
    append,
    entries,
    follow,
    make_tables,
    quantile,
    tweet,
    until_applied,
    until_seen,
    warm,
    workers,
)

SMALL_AUTHORS, SMALL_FOLLOWERS = 200, 50
PACE_SECONDS = 0.02
ALONE_SECONDS = 6.0
LARGE_FAN_OUTS = 2
BARE_KEYS = 4_000
SECONDS_MAX = 180.0


class Scene:
    """A large author, small ones, and ids for tweets."""

    def __init__(self, followers: int) -> None:
        base = compose_id(int(time.time() * 1000), 0, 0)
        self.star = base
        self.readers = [base + 10 + number for number in range(followers)]
        self.tweet_ids = count(base + (1 << 30))
        rng = random.Random(5)
        self.small = {
            base + 1 + (1 << 29) + number: rng.sample(self.readers, SMALL_FOLLOWERS)
            for number in range(SMALL_AUTHORS)
        }

    async def populate(self, on: Engines) -> None:
        """Writes the graph and warms every timeline."""
        await make_tables(on)
        await follow(on, self.star, self.readers)
        for author, followers in self.small.items():
            await follow(on, author, followers)
        await warm(on, self.readers)


async def deliver(on: Engines, log: Log, scene: Scene) -> float:
    """Seconds from the append of a tweet of the large author until every chunk is delivered."""
    began = time.perf_counter()
    posted = await append(log, [tweet(scene.star, next(scene.tweet_ids))])
    await until_applied(on, NAME, posted, SECONDS_MAX)
    ends: dict[str, int] = {}
    # A chunk that has grown is cut and appended anew: until no more come.
    while ends != (now := await LogEnds(on).ends(FAN_OUT)):
        ends = now
        await until_applied(on, FAN_OUT, ends, SECONDS_MAX)
    return time.perf_counter() - began


async def small_tweets(on: Engines, log: Log, scene: Scene, until: asyncio.Event) -> list[float]:
    """Seconds from append to visible, of tweets of small authors at a steady pace."""
    rng = random.Random(3)
    seconds: list[float] = []

    async def one() -> None:
        author = rng.choice(list(scene.small))
        tweet_id = next(scene.tweet_ids)
        began = time.perf_counter()
        await log.append(tweet(author, tweet_id))
        await until_seen(on, rng.choice(scene.small[author]), tweet_id, SECONDS_MAX)
        seconds.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        while not until.is_set():
            group.create_task(one())
            await asyncio.sleep(PACE_SECONDS)
    return seconds


async def beside_large(on: Engines, log: Log, scene: Scene) -> tuple[list[float], list[float]]:
    """Latencies of small tweets alone, then beside large fan-outs."""
    alone_ends, beside_ends = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(ALONE_SECONDS, alone_ends.set)
    alone = await small_tweets(on, log, scene, alone_ends)
    beside = asyncio.create_task(small_tweets(on, log, scene, beside_ends))
    for _ in range(LARGE_FAN_OUTS):
        await deliver(on, log, scene)
    beside_ends.set()
    return alone, await beside


async def bare_script(on: Engines, scene: Scene) -> float:
    """Seconds of the script calls alone, made beforehand."""
    keys = Keys(on.settings.generation, f"bare-{secrets.token_hex(4)}", on.settings.buckets)
    packed = pack_ids((next(scene.tweet_ids),))
    by_bucket: dict[int, list[bytes]] = {}
    for reader in scene.readers:
        by_bucket.setdefault(keys.bucket(reader), []).append(keys.of(HOME, reader))
    commands: list[Command] = []
    for bucket, homes in by_bucket.items():
        for at in range(0, len(homes), BARE_KEYS):
            for names, operation in marked.shared(800, homes[at : at + BARE_KEYS], packed):
                call: list[Argument] = ["FCALL", EFFECTS.name("murmur_commit"), 1 + len(names)]
                call += [keys.positions(bucket), *names, "fan-out/0", UNBEGUN, 1, 0, *operation]
                commands.append(call)
    began = time.perf_counter()
    for at in range(0, len(commands), 16):
        await on.bus.calls_strict(commands[at : at + 16])
    return time.perf_counter() - began


async def run() -> list[Figure]:
    """Measures on the running stack."""
    followers = int(os.environ.get("BENCH_FOLLOWERS", "999999"))
    settings = load(topic_prefix=f"bench-{secrets.token_hex(4)}-", generation="bench4").settings
    scene = Scene(followers)
    async with compose.engines(settings) as on:
        await prepare_on(on)
        await scene.populate(on)
        with workers(settings, NAME, FAN_OUT):
            async with compose.open_log(on) as log:
                ready = await append(log, [tweet(a, next(scene.tweet_ids)) for a in scene.small])
                await until_applied(on, NAME, ready, SECONDS_MAX)
                first = await deliver(on, log, scene)
                before = await entries(on, scene.readers)
                second = await deliver(on, log, scene)
                found = await entries(on, scene.readers) - before
                if found != followers:
                    raise RuntimeError(f"{found} deliveries are visible, not {followers}")
                alone, beside = await beside_large(on, log, scene)
        bare = await bare_script(on, scene)
        await on.bus.calls_strict([("DEL", on.keys(NAME).of(HOME, r)) for r in scene.readers])
    return [
        Figure("large_fan_out", second, "s to the last follower", {"bare script": bare, "aim": 8}),
        Figure("large_fan_out_first", first, "s to the last follower", {"next": second}),
        Figure(
            "large_fan_out_rate", followers / second, "deliveries/s", {"bare": followers / bare}
        ),
        Figure(
            "small_beside_large_p99",
            quantile(beside, 0.99),
            "s from append to visible",
            {"alone": quantile(alone, 0.99), "p50 beside": quantile(beside, 0.5), "aim": 1.0},
        ),
    ]
