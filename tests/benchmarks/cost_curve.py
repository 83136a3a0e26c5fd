"""``cost_curve``: what grows how, over ten times the users and ten times the tweets.

Every author has 200 followers out of the readers, whose timelines are warm; tweets are applied in
slices of 500 in this process, as a worker does, and 300 home timelines are read. For each size:
the worker's CPU and Valkey's per delivery, what Redis holds per user, and the CPU of a home read.
"""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass

from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from gateway.queries.home import HomeTimelines
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import load
from projections.timelines.layout import HOME
from projections.timelines.unit import NAME
from projections.tweets.unit import NAME as TWEETS
from tests.benchmarks.harness import Figure
from tests.benchmarks.memory_bytes import weigh
from tests.benchmarks.pushing import follow, make_tables, tweet, warm

USERS, TWEETS_POSTED, FACTOR = 2_000, 1_000, 10
FOLLOWERS = 200
SLICE_TWEETS = 500
READS = 300
PAGE = 20


@dataclass(frozen=True)
class Cost:
    """What one size costs.

    Attributes:
        worker_us: CPU of the worker per delivery.
        valkey_us: CPU of Valkey per delivery.
        bytes_per_user: Redis memory of a user's home timeline.
        read_ms: CPU of this process per read of a home timeline's first page.
    """

    worker_us: float
    valkey_us: float
    bytes_per_user: float
    read_ms: float


async def valkey_seconds(on: Engines) -> float:
    """CPU that Valkey's main thread has used."""
    text = (await on.bus.call("INFO", "cpu")).decode()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return sum(float(fields[f"used_cpu_{kind}_main_thread"]) for kind in ("user", "sys"))


async def cost(on: Engines, users: int, posted: int) -> Cost:
    """Applies ``posted`` tweets to ``users`` readers and reads some of their timelines."""
    base = compose_id(int(time.time() * 1000), 5, 0)
    rng = random.Random(9)
    readers = [base + number for number in range(users)]
    authors = [base + (1 << 22) + number for number in range(users // 20)]
    for author in authors:
        await follow(on, author, rng.sample(readers, FOLLOWERS))
    await warm(on, readers)
    units = [compose.UNITS[name](on) for name in (NAME, TWEETS)]
    for unit in units:
        await unit.open()
    first = base + (1 << 30)
    records = [Record(n, 0, tweet(rng.choice(authors), first + n)) for n in range(posted)]
    partition = secrets.randbelow(1 << 30)
    slices = [
        Slice("new-tweets", partition, "curve", at, at + len(part), part)
        for at in range(0, posted, SLICE_TWEETS)
        for part in (records[at : at + SLICE_TWEETS],)
    ]
    for piece in slices:  # so that the followers are cached, as in a worker that has run for long
        await units[1].apply(piece)
    deliveries = posted * FOLLOWERS
    cpu, valkey = time.process_time(), await valkey_seconds(on)
    for piece in slices:
        await units[0].apply(piece)
    worker_us = (time.process_time() - cpu) / deliveries * 1e6
    valkey_us = (await valkey_seconds(on) - valkey) / deliveries * 1e6
    homes = HomeTimelines(
        compose.timelines_reader(on), compose.tweets_reader(on), compose.accounts_reader(on)
    )
    cpu = time.process_time()
    for reader in rng.choices(readers, k=READS):
        await homes.page(reader, None, PAGE)
    read_ms = (time.process_time() - cpu) / READS * 1e3
    held = [on.keys(NAME).of(HOME, reader) for reader in readers]
    weight = await weigh(on, held) / users
    await on.bus.calls_strict([("DEL", key) for key in held])
    return Cost(worker_us, valkey_us, weight, read_ms)


async def run() -> list[Figure]:
    """Measures on the running stack."""
    settings = load(topic_prefix=f"bench-{secrets.token_hex(4)}-", generation="bench4").settings
    async with compose.engines(settings) as on:
        await prepare_on(on)
        await make_tables(on)
        base = await cost(on, USERS, TWEETS_POSTED)
        users = await cost(on, USERS * FACTOR, TWEETS_POSTED)
        tweets = await cost(on, USERS, TWEETS_POSTED * FACTOR)
        both = await cost(on, USERS * FACTOR, TWEETS_POSTED * FACTOR)
    units = {
        "worker_us": "µs CPU of the worker per delivery",
        "valkey_us": "µs CPU of Valkey per delivery",
        "bytes_per_user": "bytes of Redis per home timeline",
        "read_ms": "ms CPU per home read",
    }
    return [
        Figure(
            f"cost_{name}",
            getattr(base, name),
            unit,
            {
                "10x users": getattr(users, name),
                "10x tweets": getattr(tweets, name),
                "10x both": getattr(both, name),
            },
        )
        for name, unit in units.items()
    ]
