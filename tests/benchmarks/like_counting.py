"""``like_counting``: events a second from Avro bytes to exact counts in Redis, likers included.

``BENCH_EVENTS`` (default 400,000) likes, unlikes and views (90 : 5 : 5) of a million users about
20,000 tweets whose popularity falls as 1/rank, in slices of ``RECORDS_MAX``. A round has fresh ids.

- ``like_counting``: slices read beforehand, decoded and applied in this process; the durable lists
  are left out (a store that keeps registers, in memory), everything in Redis is as in production.
  Beside it decoding alone, which is its limit.
- ``like_counting_one_tweet``: the same about one viral tweet.
- ``like_counting_from_kafka``: a worker process, from the topic, beside Quix Streams reading the
  same topic and counting less exactly (see ``like_contenders``). ``…_one_tweet_from_kafka``: the
  same about one viral tweet.
- ``like_counting_with_lists``: the worker process with the durable memberships, lists and registers
  in Cassandra, beside writing the same rows and nothing else.
- ``bytes_per_like``: what Redis says that entries and likers take, by the likes in them, of the
  20,000 tweets and of the one.

Counts are checked in each: a rate of wrong counts is no rate. Each is the best of ``ROUNDS``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import secrets
import sys
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from events.codec import Codec
from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from events.types import Event, TweetLiked, TweetUnliked, TweetViewed
from infra import compose
from infra.compose import Engines
from infra.settings import load
from projections.engagement.layout import COUNTS, Counts
from projections.engagement.likes import TALLIES
from projections.engagement.lists import Lists, rows_of
from projections.engagement.read import EngagementReader
from projections.engagement.tally import Touched, gather
from projections.engagement.unit import RECORDS_MAX, Engagement
from projections.keys import Keys
from projections.store import Row, Store
from tests.benchmarks.harness import Figure

TWEETS = 20_000
USERS = 1_000_000
SLICE = RECORDS_MAX
PARTITIONS = 4
ROUNDS = 2
LISTS_SHARE = 10
"""The durable lists are measured on a tenth of the events: they take ten times as long."""

SECONDS_MAX = 240.0


class NoLists(Lists):
    """Writes no memberships and lists."""

    def __init__(self) -> None:
        """Needs no store."""

    async def write(self, touched: dict[int, Touched]) -> None:
        return None


class Registers(Store):
    """A store that keeps registers of ``engagements``, in memory, and nothing else."""

    def __init__(self, inner: Store) -> None:
        self.__dict__.update(inner.__dict__)
        self._registers: dict[int, Row] = {}

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        if cql is not TALLIES:
            return []
        return [self._registers[tweet] for tweet in values[0] if tweet in self._registers]

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        for _, (_, position, likes, views, tweet, source) in rows:
            self._registers[tweet] = (tweet, source, position, likes, views, None, None, None)


def make(count: int, tweets: int) -> list[Event]:
    """Events with fresh ids."""
    rng = random.Random(secrets.randbits(32))
    base = compose_id(int(time.time() * 1000), 3, 0)
    ids = [base + number for number in range(tweets)]
    weights = list(accumulate(1 / rank for rank in range(1, tweets + 1)))
    about = rng.choices(ids, cum_weights=weights, k=count)
    return [_event(rng, base + (1 << 22) + n, tweet) for n, tweet in enumerate(about)]


def _event(rng: random.Random, event_id: int, tweet: int) -> Event:
    user = 1_000_000_000_000_000_000 + rng.randrange(USERS)
    kind = rng.random()
    if kind < 0.05:
        return TweetViewed(event_id=event_id, occurred_at=1, tweet_id=tweet, user_id=user)
    made = TweetUnliked if kind < 0.1 else TweetLiked
    return made(event_id=event_id, occurred_at=1, tweet_id=tweet, tweet_author_id=1, user_id=user)


def truth(events: Sequence[Event]) -> dict[int, Counts]:
    """What the counts must be."""
    likers: dict[int, set[int]] = {}
    views: dict[int, int] = {}
    for event in events:
        if isinstance(event, TweetViewed):
            views[event.tweet_id] = views.get(event.tweet_id, 0) + 1
        elif isinstance(event, TweetLiked):
            likers.setdefault(event.tweet_id, set()).add(event.user_id)
        elif isinstance(event, TweetUnliked):
            likers.setdefault(event.tweet_id, set()).discard(event.user_id)
    return {
        tweet: Counts(likes=len(likers.get(tweet, ())), views=views.get(tweet, 0))
        for tweet in {*likers, *views}
    }


async def check(on: Engines, keys: Keys, events: Sequence[Event]) -> None:
    """Compares every count in Redis with the truth."""
    wanted = truth(events)
    found = await EngagementReader(on.bus, Registers(on.store), keys).counts(wanted)
    wrong = [tweet for tweet, counts in wanted.items() if found[tweet] != counts]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(wanted)} counts are wrong")


def fresh_keys(on: Engines) -> Keys:
    """Names that no other round has."""
    name = f"bench{secrets.token_hex(4)}"
    return Keys(name, name, on.settings.buckets)


async def memory_per_like(on: Engines, keys: Keys, events: Sequence[Event]) -> float:
    """Bytes in Redis of all entries and likers, by likes; forgets them."""
    counts = truth(events)
    entries = [keys.of(COUNTS, tweet) for tweet in counts]
    names = [*entries, *(entry + b":likers" for entry in entries)]
    used = await on.bus.calls_strict([("MEMORY", "USAGE", name) for name in names])
    await on.bus.calls_strict([("UNLINK", name) for name in names])
    return sum(size or 0 for size in used) / sum(found.likes for found in counts.values())


async def in_process(on: Engines, codec: Codec, count: int, tweets: int) -> list[float]:
    """Returns events a second decoded and applied, decoded only, and bytes of Redis a like."""
    events = make(count, tweets)
    values = [codec.encode(event) for event in events]
    keys = fresh_keys(on)
    unit = Engagement(on.bus, Registers(on.store), keys, lists=NoLists())
    await unit.open()
    gc.collect()
    gc.freeze()  # what this benchmark holds beside the unit is no burden of the unit's
    began = time.perf_counter()
    decoding = 0.0
    for at in range(0, count, SLICE):
        start = time.perf_counter()
        decoded = await codec.decode_batch(values[at : at + SLICE], "engagements")
        records = [Record(at + n, 0, event) for n, event in enumerate(decoded.events) if event]
        decoding += time.perf_counter() - start
        await unit.apply(Slice("engagements", 0, "bench", at, at + SLICE, records))
    seconds = time.perf_counter() - began
    await check(on, keys, events)
    return [count / seconds, count / decoding, await memory_per_like(on, keys, events)]


async def fill(bootstrap: str, topic: str, codec: Codec, events: Sequence[Event]) -> None:
    """Makes the topic and appends the events, a tweet's all to one partition."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    redrive = topic.removesuffix("engagements") + "redrive"  # a worker waits for it
    made = [NewTopic(topic, PARTITIONS, 1), NewTopic(redrive, 1, 1)]
    for created in admin.create_topics(made).values():
        created.result()
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4", "acks": "all"}
    )
    for number, event in enumerate(events):
        tweet: int = event.tweet_id  # type: ignore[attr-defined]
        while True:
            try:
                producer.produce(topic, codec.encode(event), partition=tweet % PARTITIONS)
                break
            except BufferError:
                await asyncio.to_thread(producer.poll, 0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    if left := await asyncio.to_thread(producer.flush, 120):
        raise RuntimeError(f"{left} events were not delivered")


async def contend(on: Engines, kind: str, keys: Keys, topic: str, count: int) -> float:
    """Runs one contender in a process of its own; returns its events a second."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.like_contenders",
        kind,
        str(on.settings.data_dir),
        keys.generation,
        topic,
        str(count),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    except TimeoutError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{kind} failed: {err.decode()[-2000:]}")
    result = json.loads(out.decode().strip().splitlines()[-1])
    return float(result["events"] / result["seconds"])


async def from_kafka(
    on: Engines, codec: Codec, kinds: Sequence[str], count: int, tweets: int = TWEETS
) -> list[float]:
    """Fills a topic and lets contenders read it, one after the other."""
    events = make(count, tweets)
    topic = f"bench{secrets.token_hex(4)}-engagements"
    bootstrap = on.settings.kafka_bootstrap
    await fill(bootstrap, topic, codec, events)
    rates = []
    try:
        for kind in kinds:
            keys = fresh_keys(on)
            rates.append(await contend(on, kind, keys, topic, count))
            if kind == "quix":
                for end in ("likers", "views"):
                    names = [f"{keys.generation}:{tweet}:{end}" for tweet in truth(events)]
                    await on.bus.calls([("UNLINK", name) for name in names])
            else:
                await check(on, keys, events)
                await memory_per_like(on, keys, events)
    finally:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for done in admin.delete_topics([topic]).values():
            done.result()
    return rates


async def bare_lists(on: Engines, count: int) -> float:
    """Events a second of writing the rows of the lists and nothing else."""
    events = make(count, TWEETS)
    slices = [
        list(rows_of(gather(Record(n, 0, e) for n, e in enumerate(events[at : at + SLICE]))))
        for at in range(0, count, SLICE)
    ]
    began = time.perf_counter()
    for rows in slices:
        await on.store.write(rows)
    return count / (time.perf_counter() - began)


async def run() -> list[Figure]:
    """Everything, one after the other."""
    count = int(os.environ.get("BENCH_EVENTS", "400000"))
    best: dict[str, float] = {}
    bytes_of: dict[str, float] = {}

    def keep(name: str, rate: float) -> None:
        best[name] = max(rate, best.get(name, 0.0))

    async with compose.engines(load().settings) as on:
        codec = Codec(await on.registry.publish(), on.registry)
        await Engagement(on.bus, on.store, fresh_keys(on)).open()
        for _ in range(ROUNDS):
            for name, tweets in (("many", TWEETS), ("one", 1)):
                applied, decoded, bytes_of[name] = await in_process(on, codec, count, tweets)
                keep(name, applied)
                keep(f"{name}, decoding", decoded)
            ours, quix = await from_kafka(on, codec, ("worker", "quix"), count)
            keep("worker", ours)
            keep("quix", quix)
            (one,) = await from_kafka(on, codec, ("worker",), count, tweets=1)
            keep("one, worker", one)
        (lists,) = await from_kafka(on, codec, ("lists",), count // LISTS_SHARE)
        keep("lists", lists)
        keep("rows", await bare_lists(on, count // LISTS_SHARE))
    unit = "events/s"
    return [
        Figure("like_counting", best["many"], unit, {"decoding (limit)": best["many, decoding"]}),
        Figure(
            "like_counting_one_tweet",
            best["one"],
            unit,
            {"decoding (limit)": best["one, decoding"], "asked for": 50_000},
        ),
        Figure(
            "like_counting_from_kafka", best["worker"], unit, {"Quix, less exactly": best["quix"]}
        ),
        Figure(
            "like_counting_one_tweet_from_kafka",
            best["one, worker"],
            unit,
            {"asked for": 50_000},
        ),
        Figure("like_counting_with_lists", best["lists"], unit, {"writing the rows": best["rows"]}),
        Figure("bytes_per_like", bytes_of["many"], "bytes", {"one tweet": bytes_of["one"]}),
    ]
