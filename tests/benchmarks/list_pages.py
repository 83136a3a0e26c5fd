"""``list_pages``: the first page of list timelines by the number of members, nothing cached of it.

A page of 20 tweets, read from the members' author timelines in the store by the gateway's own code
in this process; tweets, authors and the reader's relations are warm, as they are in service. Of
each size the median of ``READS`` is told, and the CPU time of this process for one (driver, merge,
filters and hydration; not the store's). Beside it the merge of author timelines alone.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from events.types import Event, UserRegistered
from gateway.queries.counted import CountedTweets
from gateway.queries.home import candidates_for, read_page
from gateway.queries.lists import ListSource
from infra import compose
from infra.compose import Engines
from infra.prepare import prepare_on
from infra.settings import load
from projections.timelines.authors import NEWEST
from tests.benchmarks.harness import Figure
from tests.posts import post

SIZES = (20, 100, 500, 1_000, 5_000)
TWEETS_EACH = 10
READS = 9
COUNT = 20
SLICE_RECORDS = 2_000
TEXT = "a tweet of ordinary length, as people write them every day of the year #bench"


async def run() -> list[Figure]:
    """Measures and returns the figures."""
    settings = load().settings.model_copy(update={"topic_prefix": f"b{secrets.token_hex(4)}-"})
    async with compose.engines(settings) as on:
        authors = await _populate(on)
        timelines, accounts = compose.timelines_reader(on), compose.accounts_reader(on)
        tweets = CountedTweets(compose.tweets_reader(on), compose.engagement_reader(on))
        reader = authors[0]
        relations = await timelines.graph.relations_of(reader)

        wanted = candidates_for(COUNT)

        async def page_of(members: Sequence[int]) -> int:
            source = ListSource(timelines.authors, reader, relations, members, NEWEST, wanted)
            return len((await read_page(source, tweets, accounts, NEWEST, COUNT)).tweets)

        async def merge_of(members: Sequence[int]) -> int:
            return min(COUNT, len((await timelines.authors.merge(members, NEWEST, wanted)).entries))

        figures: list[Figure] = []
        for size in SIZES:
            members = authors[:: len(authors) // size][:size]
            wall, cpu = await _measured(page_of, members)
            merge_wall, merge_cpu = await _measured(merge_of, members)
            name = f"list_pages, {size} members"
            figures += [
                Figure(name, wall, "ms", {"merge alone": merge_wall}),
                Figure(f"{name}, CPU", cpu, "ms", {"merge alone": merge_cpu}),
            ]
    return figures


async def _measured(
    read: Callable[[Sequence[int]], Awaitable[int]], members: Sequence[int]
) -> tuple[float, float]:
    """Returns the median of the milliseconds that a read takes, and of those of CPU."""
    walls, cpus = [], []
    for _ in range(READS + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        if await read(members) != COUNT:
            raise RuntimeError("not a full page")
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return statistics.median(walls[1:]), statistics.median(cpus[1:])  # the first one warms


async def _populate(on: Engines) -> list[int]:
    """Registers authors and lets them tweet in turns; returns their ids."""
    await prepare_on(on)
    now_ms = int(time.time() * 1000)
    authors = [compose_id(now_ms, n >> 12, n & 4095) for n in range(max(SIZES))]
    first = compose_id(now_ms + 60_000, 0, 0)
    events: dict[str, list[Event]] = {
        "users": [
            UserRegistered(
                event_id=user,
                user_id=user,
                username=f"u{n}",
                name=f"U {n}",
                occurred_at=1,
                created_at=1,
            )
            for n, user in enumerate(authors)
        ],
        "new-tweets": [
            post(tweet, authors[n % len(authors)], text=TEXT)
            for n, tweet in enumerate(range(first, first + len(authors) * TWEETS_EACH))
        ],
    }
    for name in ("accounts", "tweets", "timelines"):
        unit = compose.UNITS[name](on)
        await unit.open()
        for topic, said in events.items():
            if topic in unit.topics:
                await unit.resume(topic, 0, "bench")
                for at in range(0, len(said), SLICE_RECORDS):
                    part = [
                        Record(n, 1, e) for n, e in enumerate(said[at : at + SLICE_RECORDS], at)
                    ]
                    await unit.apply(Slice(topic, 0, "bench", at, at + len(part), part))
        await unit.close()
    return authors
