"""Search: indexing with the archive, as a worker does it: tweets a second, and its CPU a tweet.

``SEARCH_INDEXED`` tweets (10,000) of :mod:`tests.benchmarks.search_tiers`, in slices of ``SLICE``,
through the unit on the engines that the settings name, in a generation of its own that is dropped
at the end. The tweets are as far apart as at the rate that the issue asks for, which stands beside
what was reached. CPU is this process's; the store has to be paid besides.
"""

from __future__ import annotations

import os
import time
import uuid

import msgspec

from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from infra import compose
from infra.replay.lifecycle import remove
from infra.settings import load
from projections.search.unit import NAME as SEARCH
from tests.benchmarks.harness import Figure
from tests.benchmarks.search_tiers import tweets

TWEETS = int(os.environ.get("SEARCH_INDEXED", "10000"))
SLICE = 250
ASKED_RATE = 500.0


async def run() -> list[Figure]:
    """Indexes, and looks at the clock."""
    began_ms = int(time.time() * 1000)
    posted = [
        msgspec.structs.replace(tweet, tweet_id=at, conversation_id=at)
        for number, tweet in enumerate(tweets(TWEETS))
        for at in (compose_id(began_ms + int(number * 1000 / ASKED_RATE), 0, 0),)
    ]
    prefix = f"b{uuid.uuid4().hex[:6]}-"
    async with compose.engines(load(topic_prefix=prefix).settings) as given:
        on = given.at({SEARCH: f"b{uuid.uuid4().hex[:6]}"})
        unit = compose.UNITS[SEARCH](on)
        await unit.open()
        try:
            await unit.resume("new-tweets", 0, "id")
            before, cpu = time.perf_counter(), time.process_time()
            for at in range(0, len(posted), SLICE):
                part = posted[at : at + SLICE]
                records = [Record(at + n, 0, tweet) for n, tweet in enumerate(part)]
                await unit.apply(Slice("new-tweets", 0, "id", at, at + len(part), records))
            seconds, spent = time.perf_counter() - before, time.process_time() - cpu
        finally:
            await remove(on, SEARCH)
    return [
        Figure("search: a worker's rate", TWEETS / seconds, "tweets/s", {"asked": ASKED_RATE}),
        Figure("search: a worker's CPU", spent * 1e6 / TWEETS, "µs a tweet"),
    ]
