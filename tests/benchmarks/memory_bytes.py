"""``memory_bytes``: what Redis holds per timeline entry, follow edge and tweet.

Each is made through the code that makes it in service, and weighed by ``MEMORY USAGE``, key and
allocator's slack included. Beside the timeline entry: the same ids as the brief's sorted set.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import load
from projections.functions import EFFECTS
from projections.timelines import marked
from projections.timelines.layout import FOLLOWERS, HOME, pack_ids
from projections.timelines.unit import NAME
from projections.tweets.unit import NAME as TWEETS
from tests.benchmarks.harness import Figure
from tests.benchmarks.pushing import follow, make_tables, tweet, warm

ENTRIES = (100, 800)
FANS = 1_000
FOLLOWED = 200
TWEETS_WEIGHED = 500
PARTITION = 1 << 30


async def weigh(on: Engines, keys: Iterable[bytes]) -> int:
    """Bytes of keys that there are."""
    replies = await on.bus.calls_strict([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys])
    return sum(int(reply) for reply in replies if reply is not None)


async def timeline(on: Engines, reader: int, entries: int) -> tuple[float, float]:
    """Bytes per entry of a home timeline that was pushed to, and of a sorted set of the same."""
    await warm(on, [reader])
    ids = [reader + 1 + number for number in range(entries)]
    keys = on.keys(NAME)
    home = keys.of(HOME, reader)
    function = EFFECTS.name("murmur_commit")
    for at, tweet_id in enumerate(ids):
        for names, operation in marked.added(entries, [(home, pack_ids((tweet_id,)))]):
            positions = keys.positions(keys.bucket(reader))
            source = (f"bytes/{reader}", at - 1, at + 1, 1)
            await on.bus.call("FCALL", function, 2, positions, *names, *source, *operation)
    peer = home + b":sorted"
    await on.bus.calls_strict([("ZADD", peer, tweet_id, tweet_id) for tweet_id in ids])
    weights = [await weigh(on, [key]) / entries for key in (home, peer)]
    await on.bus.calls_strict([("DEL", home), ("DEL", peer)])
    return weights[0], weights[1]


async def edges(on: Engines, base: int) -> float:
    """Bytes per follow edge: its share of an author's list of followers, and of a reader's own."""
    fans = [base + 1 + number for number in range(FANS)]
    await follow(on, base, fans)
    reader = base + FANS + 1
    for number in range(FOLLOWED):
        await follow(on, reader + 1 + number, [reader])
    unit = compose.UNITS[NAME](on)
    await unit.open()
    await unit.apply(_slice("new-tweets", [base + (1 << 18)], base))
    timelines = compose.timelines_reader(on)
    await timelines.graph.relations.get([reader])
    followers = await weigh(on, [on.keys(NAME).of(FOLLOWERS, base)])
    return followers / FANS + await weigh(on, [timelines.graph.relations.key(reader)]) / FOLLOWED


async def tweets(on: Engines, base: int) -> float:
    """Bytes per tweet: the JSON fragment that a reader's first look caches."""
    ids = [base + number for number in range(TWEETS_WEIGHED)]
    unit = compose.UNITS[TWEETS](on)
    await unit.open()
    await unit.apply(_slice("new-tweets", ids, base))
    await compose.tweets_reader(on).get(ids)
    keys = on.keys(TWEETS)
    return await weigh(on, [keys.of("tweet", tweet_id) for tweet_id in ids]) / len(ids)


def _slice(topic: str, ids: list[int], author: int) -> Slice:
    partition = secrets.randbelow(PARTITION)
    records = [Record(at, 0, tweet(author, tweet_id)) for at, tweet_id in enumerate(ids)]
    return Slice(topic, partition, "bytes", 0, len(ids), records)


async def run() -> list[Figure]:
    """Measures on the running stack."""
    settings = load(topic_prefix=f"bench-{secrets.token_hex(4)}-", generation="bench4").settings
    base = compose_id(int(time.time() * 1000), 4, 0)
    figures = []
    async with compose.engines(settings) as on:
        await prepare_on(on)
        await make_tables(on)
        for number, entries in enumerate(ENTRIES):
            packed, peer = await timeline(on, base + (number << 20), entries)
            beside = {"sorted set": peer, "aim": 40.0}
            figures.append(Figure(f"bytes_per_entry_of_{entries}", packed, "bytes", beside))
        edge = await edges(on, base + (5 << 20))
        figures.append(Figure("bytes_per_follow_edge", edge, "bytes", {"two ids": 16.0}))
        figures.append(Figure("bytes_per_tweet", await tweets(on, base + (6 << 20)), "bytes"))
    return figures
